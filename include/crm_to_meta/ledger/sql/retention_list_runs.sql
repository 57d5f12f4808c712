-- The oldest first, and not all at once: the first time after years there may be many.
SELECT run_key
FROM capi.run
WHERE pipeline = %(pipeline)s
    AND state <> 'running'
    AND finished_at < %(oldest)s
    AND NOT EXISTS (
        SELECT FROM capi.delivery AS known WHERE known.run_key = run.run_key AND known.status = 'pending'
    )
ORDER BY started_at
LIMIT %(at_most)s
