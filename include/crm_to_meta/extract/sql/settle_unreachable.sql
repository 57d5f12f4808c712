-- What a dead run left pending and no later run can find: a row without a transition id is named by its content, and may
-- have changed since; one without a time is in no window but this sweep's, which did not take it. Neither can be sent.
UPDATE capi.delivery AS known SET
    status = 'quarantined',
    reason = CASE WHEN known.transition_id IS NULL THEN 'transition_id_missing' ELSE 'event_time_missing' END,
    updated_at = clock_timestamp()
FROM capi.run AS former
WHERE former.run_key = known.run_key
    AND former.pipeline = %(pipeline)s
    AND former.state <> 'running'
    AND known.status = 'pending'
    AND (known.transition_id IS NULL OR (%(is_sweep)s AND known.event_time IS NULL))
