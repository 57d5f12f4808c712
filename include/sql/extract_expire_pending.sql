-- What an outage left behind and the window no longer reaches is too old for Meta: put on record, by this run.
UPDATE capi.delivery AS known SET
    status = 'expired',
    reason = 'event_too_old',
    run_key = %(run_key)s,
    chunk_no = NULL,
    updated_at = clock_timestamp()
WHERE known.pipeline = %(pipeline)s
    AND known.status = 'pending'
    AND known.event_time < %(oldest_event_time)s
    AND known.event_time < %(window_start)s
    AND NOT EXISTS (SELECT FROM capi.run AS owner WHERE owner.run_key = known.run_key AND owner.state = 'running')
