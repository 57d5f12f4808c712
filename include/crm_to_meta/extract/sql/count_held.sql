-- By the runs at work and not by the window: there are few of them, and each finds its open transitions by index.
SELECT count(*)
FROM capi.run AS owner
INNER JOIN capi.delivery AS known ON known.run_key = owner.run_key
WHERE owner.pipeline = %(pipeline)s
    AND owner.state = 'running'
    AND owner.run_key <> %(run_key)s
    AND known.status IN ('pending', 'in_doubt')
    AND known.event_time >= %(window_start)s
    AND known.event_time < %(window_end)s
