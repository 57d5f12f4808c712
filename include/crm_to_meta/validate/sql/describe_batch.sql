-- The run itself; whether the run before it left nothing over and had the same settings (the latest live one that looked
-- back); and how many of the staged rows are not dated in the future.
SELECT run.mode, run.run_type, run.is_sweep, run.window_end,
    (SELECT last.state = 'succeeded' AND last.configuration_digest = run.configuration_digest
    FROM capi.run AS last
    WHERE last.pipeline = run.pipeline AND last.mode = 'live' AND last.is_sweep AND last.run_key <> run.run_key
        AND last.started_at <= run.started_at AND last.window_end <= run.window_end
    ORDER BY last.started_at DESC, last.pass_no DESC
    LIMIT 1),
    (SELECT count(*) FROM {staging} WHERE event_time IS NULL OR event_time <= %(now)s)
FROM capi.run AS run
WHERE run.run_key = %(run_key)s
