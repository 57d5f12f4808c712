-- Unlogged: raw personal values reach no write-ahead log, no replica and no archive of one. Nor do samples of them:
-- autovacuum would gather statistics.
CREATE UNLOGGED TABLE {staging} (LIKE capi.staging INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)
WITH (autovacuum_enabled = false)
