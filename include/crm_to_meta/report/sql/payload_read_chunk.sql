SELECT body, dropped FROM capi.chunk WHERE run_key = %(run_key)s AND chunk_no = %(chunk_no)s AND body IS NOT NULL
