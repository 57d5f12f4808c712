UPDATE capi.chunk SET body = NULL WHERE run_key = %(run_key)s
