SELECT mode, extracted, stop_reason, taken_over FROM capi.run WHERE run_key = %(run_key)s FOR UPDATE
