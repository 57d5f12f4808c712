-- Of a chunk's events, those that the ledger lets this run send now.
SELECT event_id FROM capi.delivery
WHERE event_id = ANY(%(event_ids)s)
    AND run_key IS NOT DISTINCT FROM %(run_key)s -- leaves the primary key as the only way in
    AND (status = 'pending' OR (status = 'in_doubt' AND doubted_at > clock_timestamp() - %(deduplication_window)s))
