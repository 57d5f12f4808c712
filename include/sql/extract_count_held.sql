SELECT count(*)
FROM capi.delivery AS known
INNER JOIN capi.run AS owner ON owner.run_key = known.run_key AND owner.state = 'running'
WHERE known.pipeline = %(pipeline)s
    AND known.status IN ('pending', 'in_doubt')
    AND known.run_key <> %(run_key)s
    AND known.event_time >= %(window_start)s
    AND known.event_time < %(window_end)s
