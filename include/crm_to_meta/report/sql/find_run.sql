SELECT 1 FROM capi.run WHERE run_key = %(run_key)s
