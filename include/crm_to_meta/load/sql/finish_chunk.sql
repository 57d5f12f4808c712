UPDATE capi.chunk SET state = 'done' WHERE run_key = %(run_key)s AND chunk_no = %(chunk_no)s AND state <> 'superseded'
