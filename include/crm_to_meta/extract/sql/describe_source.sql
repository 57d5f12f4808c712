-- Not to_regclass: it fails where this role may not look into the schema, and what is lacking is said elsewhere.
SELECT known.attname, format_type(known.atttypid, NULL)
FROM pg_attribute AS known
INNER JOIN pg_class AS source ON source.oid = known.attrelid
INNER JOIN pg_namespace AS place ON place.oid = source.relnamespace
WHERE place.nspname = %(schema)s AND source.relname = %(table)s AND known.attnum > 0 AND NOT known.attisdropped
ORDER BY known.attnum
