-- Places (from 0) of a chunk's events that the ledger does not let this run send now.
SELECT listed.place - 1
FROM capi.chunk, unnest(chunk.event_ids) WITH ORDINALITY AS listed (event_id, place)
WHERE chunk.run_key = %(run_key)s
    AND chunk.chunk_no = %(chunk_no)s
    AND NOT EXISTS (
        SELECT FROM capi.delivery AS known
        WHERE known.event_id = listed.event_id
            AND known.run_key IS NOT DISTINCT FROM %(run_key)s -- leaves the primary key as the only way in
            AND (
                known.status = 'pending'
                OR (known.status = 'in_doubt' AND known.doubted_at > clock_timestamp() - %(deduplication_window)s)
            )
    )
