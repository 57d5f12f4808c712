-- Not to_regclass: its cache does not see what another session created while this one waited for the lock.
SELECT EXISTS (
    SELECT FROM pg_class AS c
    INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = 'capi' AND c.relname = 'migration'
)
