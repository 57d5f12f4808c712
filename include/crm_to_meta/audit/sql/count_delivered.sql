-- What the ledger says was delivered beside what delivered requests held: the two must be one number. What a person
-- found out to have arrived has no such request.
SELECT
    (
        SELECT count(*) FROM capi.delivery
        WHERE run_key = %(run_key)s AND status = 'delivered' AND reason IS DISTINCT FROM 'settled_by_hand'
    ),
    (SELECT coalesce(sum(events), 0) FROM capi.request WHERE run_key = %(run_key)s AND outcome = 'delivered')
