-- What the live runs of each day did; a day is the last one of a run's window. What is pending or in doubt is counted
-- as it is now, since later runs and people take care of it; the rest as each run's audit found it.
SELECT
    ((run.window_end - interval '1 second') AT TIME ZONE %(time_zone)s)::date AS day,
    count(*) AS runs,
    (array_agg(run.state ORDER BY run.started_at DESC))[1] AS last_state,
    sum(run.delivered + coalesce(settled.events, 0))::bigint AS delivered,
    coalesce(sum(unfinished.pending), 0)::bigint AS pending,
    coalesce(sum(unfinished.in_doubt), 0)::bigint AS in_doubt,
    sum(run.quarantined)::bigint AS quarantined,
    sum(run.rejected)::bigint AS rejected,
    sum(run.expired)::bigint AS expired,
    sum(run.skipped)::bigint AS skipped
FROM capi.run AS run
CROSS JOIN LATERAL (
    SELECT
        count(*) FILTER (WHERE known.status = 'pending') AS pending,
        count(*) FILTER (WHERE known.status = 'in_doubt') AS in_doubt
    FROM capi.delivery AS known
    WHERE known.run_key = run.run_key AND known.status IN ('pending', 'in_doubt')
) AS unfinished
LEFT JOIN LATERAL (
    SELECT count(*) AS events
    FROM capi.delivery AS known
    WHERE known.run_key = run.run_key AND known.status = 'delivered' AND known.reason = 'settled_by_hand'
) AS settled ON run.in_doubt > 0
WHERE run.pipeline = %(pipeline)s AND run.mode = 'live' AND run.window_end > %(since)s
GROUP BY 1
ORDER BY 1
