-- The stages in the order of the pipeline file: as the run's own audit wrote them down, or that of another run with the
-- same configuration.
SELECT known.figures -> 'stages'
FROM capi.run AS shown
JOIN capi.run AS known USING (pipeline, configuration_digest)
WHERE shown.run_key = %(run_key)s AND known.figures ? 'stages'
ORDER BY known.run_key = shown.run_key DESC, known.started_at DESC
LIMIT 1
