-- What people decided about events in doubt, the newest first. A NULL for the DAG run means all of them.
SELECT decided.run_key, decided.decision, decided.events, decided.decided_by, decided.decided_at
FROM capi.decision AS decided
INNER JOIN capi.run AS run ON run.run_key = decided.run_key
WHERE run.pipeline = %(pipeline)s AND run.dag_run_id = coalesce(%(dag_run_id)s::text, run.dag_run_id)
ORDER BY decided.decided_at DESC, decided.decision_id DESC
LIMIT %(limit)s
