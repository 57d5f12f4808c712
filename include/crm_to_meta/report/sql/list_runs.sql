-- This run and the audited ones before it, of the same pipeline and mode; the newest first.
SELECT known.run_key, known.window_end, known.is_sweep, known.extracted, known.delivered,
    known.pending - coalesce((known.figures -> 'by_stage' -> '(not transformed)' ->> 'pending')::bigint, 0) AS ready,
    known.rejected, known.quarantined
FROM capi.run AS shown
JOIN capi.run AS known USING (pipeline, mode)
WHERE shown.run_key = %(run_key)s
    AND (known.run_key = shown.run_key
        OR (known.state IN ('succeeded', 'failed') AND known.started_at <= shown.started_at))
ORDER BY known.started_at DESC, known.run_key DESC
LIMIT %(limit)s
