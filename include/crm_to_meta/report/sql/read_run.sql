SELECT run_key, pipeline, mode, dag_run_id, run_type, pass_no, window_start, window_end, is_sweep,
    configuration_digest, state, lease_until, stop_reason, extracted, delivered, rejected, in_doubt,
    quarantined, expired, skipped, pending, staged, held, taken_over,
    timings, figures, started_at, finished_at, now() AS read_at
FROM capi.run
WHERE run_key = %(run_key)s
