-- How the rules did in the runs that the trend shows. Rules of a pipeline's own share a reason; their words differ.
SELECT run_key, reason, CASE reason WHEN 'own_rule' THEN description ELSE '' END, checked, failed, success
FROM capi.quality
WHERE run_key = ANY(%(run_keys)s)
