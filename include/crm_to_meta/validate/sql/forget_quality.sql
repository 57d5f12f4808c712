DELETE FROM capi.quality WHERE run_key = %(run_key)s
