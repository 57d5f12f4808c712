-- Live runs that failed, or have given no sign of life, and that no good run made up for since: a later pass of the
-- same DAG run, or a run that succeeded and reaches back over the days that this one alone was about. Nor is a run open
-- whose unfinished events were taken over or settled since.
SELECT run.run_key, run.dag_run_id, run.state, run.stop_reason, run.quality_verdict, run.window_start, run.window_end,
    run.started_at, run.lease_until
FROM capi.run AS run
WHERE run.pipeline = %(pipeline)s
    AND run.mode = 'live'
    AND run.started_at > %(since)s
    AND (run.state = 'failed' OR (run.state = 'running' AND run.lease_until < %(now)s))
    AND NOT (
        run.pending + run.in_doubt > 0
        AND run.stop_reason IS NULL
        AND run.quality_verdict IS DISTINCT FROM 'failed'
        AND NOT EXISTS (
            SELECT
            FROM capi.delivery AS known
            WHERE known.run_key = run.run_key
                AND known.status IN ('pending', 'in_doubt')
                AND known.erased_at IS NULL
        )
    )
    AND NOT EXISTS (
        SELECT
        FROM capi.run AS later
        WHERE later.pipeline = run.pipeline
            AND later.mode = 'live'
            AND later.started_at > run.started_at
            AND (later.dag_run_id = run.dag_run_id
                OR (later.state = 'succeeded'
                    AND later.window_end >= run.window_end
                    AND later.window_start <= CASE
                        WHEN run.is_sweep THEN run.window_end - interval '1 day'
                        ELSE run.window_start
                    END))
    )
ORDER BY run.started_at DESC
LIMIT %(limit)s
