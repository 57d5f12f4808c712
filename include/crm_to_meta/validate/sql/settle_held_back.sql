-- The ledger learns what became of the rows that were held back; an event in doubt stays in doubt. In the order of the
-- ledger's index: a million rows are written twice as fast as in the order of the staging table.
UPDATE capi.delivery AS known SET
    status = held_back.status,
    reason = held_back.reason,
    updated_at = clock_timestamp()
FROM (SELECT event_id, status, reason FROM {held_back} ORDER BY event_id) AS held_back
WHERE known.event_id = held_back.event_id
    AND known.run_key = %(run_key)s
    AND known.status = 'pending'
