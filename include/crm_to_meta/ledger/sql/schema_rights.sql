-- What this role may do about the schema `capi`, and whether the server takes writes. Without the schema its owner is
-- NULL. The first migration asks for CREATE on the database even where somebody made the schema.
SELECT
    current_user,
    current_database(),
    pg_is_in_recovery(),
    current_setting('default_transaction_read_only')::boolean,
    pg_get_userbyid(own.nspowner),
    has_database_privilege(current_database(), 'CREATE')
    OR EXISTS (SELECT FROM pg_class WHERE relnamespace = own.oid AND relname = 'migration'),
    own.oid IS NULL
    OR pg_has_role(own.nspowner, 'USAGE')
    OR (
        has_schema_privilege(own.oid, 'USAGE')
        AND has_schema_privilege(own.oid, 'CREATE')
        AND NOT EXISTS (
            SELECT FROM pg_class AS known
            WHERE known.relnamespace = own.oid
                AND known.relkind = 'r'
                AND NOT (
                    has_table_privilege(known.oid, 'SELECT')
                    AND has_table_privilege(known.oid, 'INSERT')
                    AND has_table_privilege(known.oid, 'UPDATE')
                    AND has_table_privilege(known.oid, 'DELETE')
                )
        )
    )
FROM (SELECT) AS here
LEFT JOIN pg_namespace AS own ON own.nspname = 'capi'
