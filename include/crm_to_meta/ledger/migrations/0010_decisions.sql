-- Who settled events in doubt, and how. It goes with its run.
CREATE TABLE capi.decision (
    decision_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_key text NOT NULL REFERENCES capi.run ON DELETE CASCADE,
    decision text NOT NULL CHECK (decision IN ('arrived', 'send')),
    events bigint NOT NULL CHECK (events > 0),
    decided_by text NOT NULL,
    decided_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX decision_by_run ON capi.decision (run_key);
COMMENT ON TABLE capi.decision IS 'One row per run and decision of a person about events in doubt';
COMMENT ON COLUMN capi.decision.decision_id IS 'Number of the decision';
COMMENT ON COLUMN capi.decision.run_key IS 'The run whose events were in doubt';
COMMENT ON COLUMN capi.decision.decision IS 'arrived: they count as delivered; send: the next run sends them again';
COMMENT ON COLUMN capi.decision.events IS 'How many events were settled';
COMMENT ON COLUMN capi.decision.decided_by IS 'Who decided: the login in Airflow, or on the computer of the command line';
COMMENT ON COLUMN capi.decision.decided_at IS 'When';
