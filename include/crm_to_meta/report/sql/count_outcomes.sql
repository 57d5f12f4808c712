SELECT outcome, count(*), sum(events)
FROM capi.request
WHERE run_key = %(run_key)s
GROUP BY outcome
ORDER BY count(*) DESC, outcome
