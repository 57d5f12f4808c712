SELECT a.attname, format_type(a.atttypid, NULL)
FROM pg_attribute AS a
WHERE a.attrelid = to_regclass(format('%%I.%%I', %(schema)s::text, %(table)s::text))
    AND a.attnum > 0
    AND NOT a.attisdropped
ORDER BY a.attnum
