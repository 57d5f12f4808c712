SELECT EXISTS (SELECT FROM capi.request WHERE run_key = %(run_key)s AND outcome = 'delivered')
