SELECT transition_id, status, reason, stage
FROM capi.delivery
WHERE run_key = %(run_key)s AND reason IS NOT NULL
ORDER BY reason, event_time DESC NULLS LAST, transition_id
