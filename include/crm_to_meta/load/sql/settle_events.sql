UPDATE capi.delivery SET
    status = %(status)s,
    reason = %(reason)s,
    chunk_no = %(chunk_no)s,
    fbtrace_id = coalesce(%(fbtrace_id)s, fbtrace_id),
    doubts = doubts + (%(status)s = 'in_doubt')::integer,
    doubted_at = CASE %(status)s WHEN 'in_doubt' THEN clock_timestamp() ELSE doubted_at END,
    updated_at = clock_timestamp()
WHERE event_id = ANY((
        SELECT event_ids[%(part_start)s + 1:%(part_end)s] FROM capi.chunk
        WHERE chunk.run_key = %(run_key)s AND chunk.chunk_no = %(chunk_no)s
    )::uuid[])
    AND run_key IS NOT DISTINCT FROM %(run_key)s -- leaves the primary key as the only way in
    AND (%(status)s <> 'expired' OR status = 'pending') -- what is in doubt may have arrived: it stays in doubt
