UPDATE capi.run SET paused_until = greatest(paused_until, clock_timestamp() + %(pause)s) WHERE run_key = %(run_key)s
