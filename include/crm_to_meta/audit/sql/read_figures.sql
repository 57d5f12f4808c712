SELECT mode, state, window_end, coalesce(finished_at, now()), extracted,
    delivered, rejected, in_doubt, quarantined, expired, skipped, pending,
    (SELECT coalesce(sum((one ->> 'events')::bigint), 0) FROM jsonb_array_elements(figures -> 'elsewhere') AS one)
FROM capi.run WHERE run_key = %(run_key)s
