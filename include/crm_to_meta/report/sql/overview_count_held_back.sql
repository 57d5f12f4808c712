-- Rows that are held back or refused now and still young enough for Meta, by reason: of runs of the last days alone,
-- since what older ones held back is too old by now.
SELECT known.status, coalesce(known.reason, ''), count(*)
FROM capi.run AS run
INNER JOIN capi.delivery AS known ON known.run_key = run.run_key
WHERE run.pipeline = %(pipeline)s
    AND run.mode = 'live'
    AND run.started_at > %(oldest)s
    AND known.status IN ('quarantined', 'rejected')
    AND known.erased_at IS NULL
    AND (known.event_time IS NULL OR known.event_time > %(oldest)s)
GROUP BY 1, 2
ORDER BY 3 DESC, 1, 2
