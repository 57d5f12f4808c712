-- The latest day's newest live run, if possible one that found something to do: a cleared run finds nothing new. And the
-- newest preview.
(
    SELECT run_key, dag_run_id, mode, window_end
    FROM capi.run
    WHERE pipeline = %(pipeline)s AND mode = 'live'
    ORDER BY window_end DESC, extracted > 0 DESC, started_at DESC
    LIMIT 1
)
UNION ALL
(
    SELECT run_key, dag_run_id, mode, window_end
    FROM capi.run
    WHERE pipeline = %(pipeline)s AND mode = 'preview'
    ORDER BY started_at DESC
    LIMIT 1
)
