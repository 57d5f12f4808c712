UPDATE capi.run SET
    state = 'running',
    stop_reason = CASE WHEN state = 'running' AND NOT %(clears_stop)s THEN stop_reason END,
    finished_at = NULL,
    lease_until = clock_timestamp() + %(lease)s
WHERE run_key = %(run_key)s
