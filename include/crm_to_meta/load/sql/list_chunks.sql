-- A body that is gone was too old, or held a person who was erased: the next run sends what is left of the chunk.
SELECT chunk_no, events FROM capi.chunk
WHERE run_key = %(run_key)s AND shard_no = %(shard_no)s AND state IN ('ready', 'sending') AND body IS NOT NULL
ORDER BY chunk_no
