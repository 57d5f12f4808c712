UPDATE capi.chunk SET
    delivered = delivered + CASE %(status)s WHEN 'delivered' THEN %(events)s ELSE 0 END,
    rejected = rejected + CASE %(status)s WHEN 'rejected' THEN %(events)s ELSE 0 END
WHERE run_key = %(run_key)s AND chunk_no = %(chunk_no)s
