-- The CRM's stages that this pipeline has met in live runs whose batch was not refused, as their audits wrote them down.
SELECT DISTINCT stage.name
FROM capi.run AS run
INNER JOIN capi.run AS past USING (pipeline)
CROSS JOIN LATERAL jsonb_object_keys(past.figures -> 'by_stage') AS stage (name)
WHERE run.run_key = %(run_key)s
    AND past.run_key <> run.run_key
    AND past.started_at <= run.started_at
    AND past.mode = 'live'
    AND past.quality_verdict <> 'failed' -- NULL where it was never validated
