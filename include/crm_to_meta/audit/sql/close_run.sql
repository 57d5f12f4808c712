UPDATE capi.run SET
    state = %(state)s,
    delivered = %(delivered)s,
    rejected = %(rejected)s,
    in_doubt = %(in_doubt)s,
    quarantined = %(quarantined)s,
    expired = %(expired)s,
    skipped = %(skipped)s,
    pending = %(pending)s,
    requests = (SELECT count(*) FROM capi.request WHERE request.run_key = run.run_key),
    figures = %(figures)s,
    finished_at = clock_timestamp()
WHERE run_key = %(run_key)s
