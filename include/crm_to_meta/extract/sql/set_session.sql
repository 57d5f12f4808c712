-- Times as text are UTC; a worker that freezes does not keep the pipeline's lock for ever; and memory enough to sort and
-- join a day of a million rows (the server's default of 4 MB has each of them look up the ledger on its own).
SELECT
    set_config('TimeZone', 'UTC', true),
    set_config('idle_in_transaction_session_timeout', '5min', true),
    set_config('work_mem', greatest(pg_size_bytes(current_setting('work_mem')), pg_size_bytes('128MB')) / 1024 || 'kB', true)
