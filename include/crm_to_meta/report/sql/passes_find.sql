-- The DAG run of a run key; a key of another pipeline is not found.
SELECT dag_run_id FROM capi.run WHERE pipeline = %(pipeline)s AND run_key = %(run_key)s
