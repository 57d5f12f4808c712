SELECT expectation, reason, description, severity, checked, failed, success, observed
FROM capi.quality
WHERE run_key = %(run_key)s
ORDER BY position
