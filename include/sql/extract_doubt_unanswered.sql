-- A dead run's requests without an answer: their events may or may not have reached Meta.
WITH unanswered AS (
    UPDATE capi.request SET outcome = 'in_doubt'
    WHERE run_key = ANY(%(run_keys)s) AND outcome = 'sending'
    RETURNING run_key, chunk_no, part_start, part_end, mode
),
doubted AS (
    SELECT unnest(chunk.event_ids[part_start + 1:part_end]) AS event_id
    FROM unanswered
    INNER JOIN capi.chunk AS chunk USING (run_key, chunk_no)
    WHERE unanswered.mode = 'live'
)
UPDATE capi.delivery AS known SET
    status = 'in_doubt',
    reason = 'outcome_unknown',
    doubts = doubts + 1,
    doubted_at = clock_timestamp(),
    updated_at = clock_timestamp()
FROM doubted
WHERE known.event_id = doubted.event_id AND known.run_key = ANY(%(run_keys)s) AND known.status IN ('pending', 'in_doubt')
