UPDATE capi.run SET quality_verdict = (
    SELECT CASE
        WHEN bool_or(NOT success AND severity = 'critical') THEN 'failed'
        WHEN bool_or(NOT success AND severity = 'warning') THEN 'warned'
        ELSE 'passed'
    END
    FROM capi.quality
    WHERE quality.run_key = run.run_key
)
WHERE run_key = %(run_key)s
