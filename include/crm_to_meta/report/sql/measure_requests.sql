SELECT
    count(*),
    percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms),
    percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms)
FROM capi.request
WHERE run_key = %(run_key)s AND duration_ms IS NOT NULL
