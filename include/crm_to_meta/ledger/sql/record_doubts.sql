-- Requests whose sender died: their events may or may not have reached Meta. Of whole runs, or of one shard (not NULL).
WITH unanswered AS (
    UPDATE capi.request SET outcome = 'in_doubt'
    FROM capi.chunk AS chunk
    WHERE request.run_key = ANY(%(run_keys)s)
        AND request.outcome = 'sending'
        AND chunk.run_key = request.run_key
        AND chunk.chunk_no = request.chunk_no
        AND chunk.shard_no = coalesce(%(shard_no)s::integer, chunk.shard_no)
    RETURNING request.run_key, request.mode, chunk.event_ids[request.part_start + 1:request.part_end] AS event_ids
),
doubted AS (
    SELECT run_key, unnest(event_ids) AS event_id FROM unanswered WHERE mode = 'live'
)
UPDATE capi.delivery AS known SET
    status = 'in_doubt',
    reason = 'outcome_unknown',
    doubts = doubts + 1,
    doubted_at = clock_timestamp(),
    updated_at = clock_timestamp()
FROM doubted
WHERE known.event_id = doubted.event_id
    AND known.run_key = doubted.run_key
    AND known.status IN ('pending', 'in_doubt')
