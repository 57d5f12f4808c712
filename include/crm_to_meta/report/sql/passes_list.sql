-- The passes of a DAG run, the newest first.
SELECT run_key, pass_no, mode, state, window_start, window_end, started_at, finished_at
FROM capi.run
WHERE pipeline = %(pipeline)s AND dag_run_id = %(dag_run_id)s
ORDER BY started_at DESC, pass_no DESC
LIMIT %(limit)s
