-- Pauses that Meta asks for, and refusals that are not confirmed yet (docs/adr/0006).
ALTER TABLE capi.run ADD COLUMN paused_until timestamptz;
COMMENT ON COLUMN capi.run.paused_until IS 'Until then no run of the pipeline sends: Meta asked for a long pause';

ALTER TABLE capi.request DROP CONSTRAINT request_outcome_check;
ALTER TABLE capi.request ADD CONSTRAINT request_outcome_check CHECK (outcome IN
    ('sending', 'delivered', 'payload_refused', 'refused_alone', 'not_processed', 'rate_limited', 'stopped', 'in_doubt'));
COMMENT ON COLUMN capi.request.outcome IS
    'sending: no answer yet, or the worker died; in_doubt: outcome unknown; refused_alone: a single event, not believed yet';
