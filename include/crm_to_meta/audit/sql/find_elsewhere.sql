-- Unfinished events of a run's window that other runs have, by run and by what becomes of them; one statement, so that
-- no event moves between two looks. The grouping within makes the planner go by run: each finds its events by index.
SELECT owner.run_key, unfinished.situation, unfinished.events, owner.lease_until, owner.finished_at,
    unfinished.oldest_event_time
FROM capi.run AS asking
INNER JOIN capi.run AS owner ON owner.pipeline = asking.pipeline AND owner.run_key <> asking.run_key
CROSS JOIN LATERAL (
    SELECT
        CASE
            WHEN owner.state = 'running' AND owner.lease_until > clock_timestamp() THEN 'at_work'
            WHEN owner.state = 'running' THEN 'silent'
            WHEN known.status = 'in_doubt'
                AND NOT (%(resend_in_doubt)s AND known.doubted_at > %(now)s - %(deduplication_window)s)
                THEN 'undecided'
            ELSE 'left'
        END AS situation,
        count(*) AS events,
        min(known.event_time) AS oldest_event_time
    FROM capi.delivery AS known
    WHERE known.run_key = owner.run_key
        AND known.status IN ('pending', 'in_doubt')
        AND known.erased_at IS NULL -- nobody can settle those, and nobody sends them
        AND (
            (known.event_time >= asking.window_start AND known.event_time < asking.window_end)
            OR (asking.is_sweep AND known.event_time IS NULL)
        )
    GROUP BY 1
) AS unfinished
WHERE asking.run_key = %(run_key)s
ORDER BY owner.started_at, owner.run_key, unfinished.situation
