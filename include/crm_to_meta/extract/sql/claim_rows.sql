-- From here on this run holds the transitions; an event in doubt stays so until its next answer.
INSERT INTO capi.delivery AS known (event_id, pipeline, transition_id, lead_id, stage, event_name, event_time, status,
    run_key, source_digest)
SELECT
    event_id,
    %(pipeline)s,
    transition_id,
    CASE WHEN lead_id ~ %(lead_id_pattern)s THEN lead_id::bigint END,
    left(stage, 100),
    event_name,
    event_time,
    'pending',
    %(run_key)s,
    source_digest
FROM {staging}
ORDER BY event_id
ON CONFLICT (event_id) DO UPDATE SET
    lead_id = excluded.lead_id,
    stage = excluded.stage,
    event_name = excluded.event_name,
    event_time = excluded.event_time,
    status = CASE known.status WHEN 'in_doubt' THEN 'in_doubt' ELSE 'pending' END,
    reason = CASE known.status WHEN 'in_doubt' THEN known.reason END,
    run_key = excluded.run_key,
    chunk_no = NULL,
    source_digest = excluded.source_digest,
    updated_at = clock_timestamp()
