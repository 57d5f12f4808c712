-- Events that no run is working on and that are still to be sent: all, those that no daily run looks back to, and
-- those that are too old for Meta already.
SELECT
    count(*),
    count(*) FILTER (WHERE known.event_time < %(lookback_start)s AND known.event_time >= %(oldest)s),
    count(*) FILTER (WHERE known.event_time < %(oldest)s),
    min(known.event_time) FILTER (WHERE known.event_time >= %(oldest)s)
FROM capi.run AS run
INNER JOIN capi.delivery AS known ON known.run_key = run.run_key
WHERE run.pipeline = %(pipeline)s
    AND run.state <> 'running'
    AND known.status = 'pending'
    AND known.erased_at IS NULL
