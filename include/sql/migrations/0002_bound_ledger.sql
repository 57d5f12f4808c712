-- One index by run and status does the work of two: every status change writes all indexes of its row anew.
DROP INDEX capi.delivery_open;
DROP INDEX capi.delivery_by_run;
CREATE INDEX delivery_by_run ON capi.delivery (run_key, status);

ALTER TABLE capi.staging ADD COLUMN former_run_key text;
