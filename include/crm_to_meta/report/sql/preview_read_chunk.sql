-- The newest request body of a run, or of a shard of it, and how many events there are in all.
SELECT body, dropped, sum(events) OVER ()
FROM capi.chunk
WHERE run_key = %(run_key)s AND body IS NOT NULL AND (%(shard_no)s::integer IS NULL OR shard_no = %(shard_no)s)
ORDER BY chunk_no DESC
LIMIT 1
