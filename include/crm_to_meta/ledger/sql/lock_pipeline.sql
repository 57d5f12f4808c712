-- One extraction of a pipeline at a time: who holds which transition is decided here. Released by commit or rollback.
SELECT pg_advisory_xact_lock(hashtextextended('crm_to_meta.pipeline.' || %(pipeline)s, 0))
