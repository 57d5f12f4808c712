-- The request bodies that a run has, the newest first; a body that was cleared away is NULL.
SELECT chunk_no, events, body IS NOT NULL
FROM capi.chunk
WHERE run_key = %(run_key)s
ORDER BY chunk_no DESC
