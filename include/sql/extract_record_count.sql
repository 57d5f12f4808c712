UPDATE capi.run SET staged = %(staged)s, extracted = %(extracted)s, held = %(held)s WHERE run_key = %(run_key)s
