-- The tables of the schema capi in the order of their making, with their columns and comments.
SELECT
    class.relname,
    coalesce(obj_description(class.oid, 'pg_class'), ''),
    attribute.attname,
    format_type(attribute.atttypid, attribute.atttypmod),
    coalesce(col_description(class.oid, attribute.attnum), '')
FROM pg_class AS class
INNER JOIN pg_attribute AS attribute ON attribute.attrelid = class.oid
WHERE class.relnamespace = 'capi'::regnamespace
    AND class.relkind = 'r'
    AND attribute.attnum > 0
    AND NOT attribute.attisdropped
ORDER BY class.oid, attribute.attnum
