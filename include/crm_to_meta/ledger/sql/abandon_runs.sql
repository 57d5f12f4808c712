-- Runs that nobody works on any more: earlier passes of this DAG run (if one is named), and runs whose lease is over.
UPDATE capi.run SET state = 'abandoned', finished_at = clock_timestamp()
WHERE pipeline = %(pipeline)s
    AND state = 'running'
    AND (dag_run_id = %(dag_run_id)s::text OR lease_until < clock_timestamp())
RETURNING run_key
