SELECT state, stop_reason FROM capi.run WHERE run_key = %(run_key)s
