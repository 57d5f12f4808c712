-- Times as text are UTC; and a worker that freezes does not keep the pipeline's lock for ever.
SELECT set_config('TimeZone', 'UTC', true), set_config('idle_in_transaction_session_timeout', '5min', true)
