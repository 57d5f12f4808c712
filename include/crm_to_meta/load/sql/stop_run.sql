UPDATE capi.run SET stop_reason = %(stop_reason)s WHERE run_key = %(run_key)s
