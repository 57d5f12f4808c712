SELECT coalesce(stage, '(none)'), status, reason, count(*)
FROM capi.delivery
WHERE run_key = %(run_key)s
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3
