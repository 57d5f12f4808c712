SELECT has_table_privilege(to_regclass(format('%%I.%%I', %(schema)s::text, %(table)s::text)), 'SELECT')
