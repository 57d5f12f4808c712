-- The DAG runs that have recorded something, in any mode.
SELECT DISTINCT dag_run_id FROM capi.run WHERE pipeline = %(pipeline)s AND started_at > %(since)s
