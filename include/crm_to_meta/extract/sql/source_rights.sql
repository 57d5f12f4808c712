-- Whether this role may look into the source's schema, and read these columns of the table. A right on the table is one
-- on each of its columns.
SELECT
    current_user,
    has_schema_privilege(place.oid, 'USAGE'),
    NOT EXISTS (
        SELECT FROM pg_attribute AS known
        WHERE known.attrelid = source.oid
            AND known.attname = ANY(%(columns)s::text[])
            AND NOT has_column_privilege(source.oid, known.attnum, 'SELECT')
    )
FROM pg_class AS source
INNER JOIN pg_namespace AS place ON place.oid = source.relnamespace
WHERE place.nspname = %(schema)s AND source.relname = %(table)s
