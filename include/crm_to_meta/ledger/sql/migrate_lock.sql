SELECT pg_advisory_xact_lock(hashtextextended('crm_to_meta.migrate', 0))
