INSERT INTO capi.run (run_key, pipeline, mode, dag_run_id, run_type, pass_no, window_start, window_end, is_sweep,
    configuration_digest, lease_until)
VALUES (%(run_key)s, %(pipeline)s, %(mode)s, %(dag_run_id)s, %(run_type)s, %(pass_no)s, %(window_start)s,
    %(window_end)s, %(is_sweep)s, %(configuration_digest)s, clock_timestamp() + %(lease)s)
