DELETE FROM capi.quality_result WHERE run_key = %(run_key)s
