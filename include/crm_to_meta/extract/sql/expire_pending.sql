-- What an outage left behind and a sweep no longer reaches is too old for Meta: put on record, by this run. A backfill
-- looks at its own days alone.
WITH left_behind AS (
    SELECT known.event_id, known.run_key
    FROM capi.run AS former
    INNER JOIN capi.delivery AS known ON known.run_key = former.run_key
    WHERE %(is_sweep)s
        AND former.pipeline = %(pipeline)s
        AND former.state <> 'running'
        AND known.status = 'pending'
        AND known.event_time < %(oldest_event_time)s
        AND known.event_time < %(window_start)s
),
taken AS (
    UPDATE capi.run AS former SET taken_over = taken_over + counted.rows
    FROM (SELECT run_key, count(*) AS rows FROM left_behind GROUP BY run_key) AS counted
    WHERE former.run_key = counted.run_key
)
UPDATE capi.delivery AS known SET
    status = 'expired',
    reason = 'event_too_old',
    run_key = %(run_key)s,
    chunk_no = NULL,
    updated_at = clock_timestamp()
FROM left_behind
WHERE known.event_id = left_behind.event_id
