-- A page reads, and does not keep the warehouse busy for long.
SELECT
    set_config('default_transaction_read_only', 'on', false),
    set_config('statement_timeout', %(statement_timeout)s, false)
