UPDATE capi.run SET lease_until = clock_timestamp() + %(lease)s WHERE run_key = %(run_key)s AND state = 'running'
