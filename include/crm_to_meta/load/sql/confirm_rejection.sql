-- A single event's refusal becomes its rejection; only while this try holds the chunk, which waits for that.
WITH held AS (
    SELECT run_key, chunk_no
    FROM capi.chunk
    WHERE run_key = %(run_key)s AND chunk_no = %(chunk_no)s AND holder = %(holder)s AND state IN ('ready', 'sending')
    FOR UPDATE
)
UPDATE capi.request SET outcome = 'payload_refused'
FROM held
WHERE request.request_id = %(request_id)s
    AND request.run_key = held.run_key
    AND request.chunk_no = held.chunk_no
    AND request.outcome = 'refused_alone'
