-- The ledger learns what became of the rows that were held back; an event in doubt stays in doubt.
UPDATE capi.delivery AS known SET
    status = held_back.status,
    reason = held_back.reason,
    updated_at = clock_timestamp()
FROM {verdict} AS held_back
WHERE known.event_id = held_back.event_id
    AND known.run_key = %(run_key)s
    AND known.status = 'pending'
