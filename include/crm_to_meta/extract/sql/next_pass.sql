SELECT coalesce(max(pass_no), 0) + 1 FROM capi.run
WHERE pipeline = %(pipeline)s AND dag_run_id = %(dag_run_id)s
