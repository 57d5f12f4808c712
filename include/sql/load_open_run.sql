UPDATE capi.run SET
    state = 'running',
    stop_reason = CASE state WHEN 'running' THEN stop_reason END,
    finished_at = NULL,
    lease_until = clock_timestamp() + %(lease)s
WHERE run_key = %(run_key)s
