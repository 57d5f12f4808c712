-- Unlogged: raw personal values reach no write-ahead log, no replica and no archive of one.
CREATE UNLOGGED TABLE {staging} (LIKE capi.staging INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)
