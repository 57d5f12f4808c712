-- What the ledger says was delivered beside what delivered requests held: the two must be one number.
SELECT
    (SELECT count(*) FROM capi.delivery WHERE run_key = %(run_key)s AND status = 'delivered'),
    (SELECT coalesce(sum(events), 0) FROM capi.request WHERE run_key = %(run_key)s AND outcome = 'delivered')
