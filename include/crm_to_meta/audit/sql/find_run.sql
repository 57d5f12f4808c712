SELECT mode, extracted, stop_reason, taken_over, started_at, clock_timestamp()
FROM capi.run
WHERE run_key = %(run_key)s
FOR UPDATE
