INSERT INTO capi.quality_result (run_key, result) VALUES (%(run_key)s, %(result)s)
