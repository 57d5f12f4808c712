-- Whether the schema is there, and whether this role may work in it, or else create it.
SELECT
    EXISTS (SELECT FROM pg_namespace WHERE nspname = 'capi'),
    CASE
        WHEN EXISTS (SELECT FROM pg_namespace WHERE nspname = 'capi')
            THEN (SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'capi')
        ELSE has_database_privilege(current_database(), 'CREATE')
    END
