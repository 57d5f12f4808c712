-- One index by run and status does the work of two: every status change writes all indexes of its row anew.
DROP INDEX capi.delivery_open;
DROP INDEX capi.delivery_by_run;
CREATE INDEX delivery_by_run ON capi.delivery (run_key, status);

-- What a run is about to take from an earlier one is known when its rows are staged.
ALTER TABLE capi.staging ADD COLUMN former_run_key text;

-- Request bodies go after a while, and at once where a person is to be forgotten.
ALTER TABLE capi.chunk ALTER COLUMN body DROP NOT NULL;
CREATE INDEX chunk_with_body ON capi.chunk (run_key) WHERE body IS NOT NULL;

ALTER TABLE capi.delivery ADD COLUMN erased_at timestamptz;
COMMENT ON COLUMN capi.delivery.erased_at IS 'When the person was erased from the row; what is left keeps the counts and is never sent again';

ALTER TABLE capi.delivery DROP CONSTRAINT delivery_reason_check;
ALTER TABLE capi.delivery ADD CONSTRAINT delivery_reason_check CHECK (reason ~ '^meta_[0-9]+$' OR reason IN (
    'transition_id_missing', 'transition_id_duplicate', 'stage_missing', 'stage_unmapped', 'lead_id_invalid',
    'event_time_missing', 'event_time_invalid', 'event_time_future', 'event_before_lead', 'event_too_old',
    'value_without_currency', 'no_identifier', 'opted_out', 'outcome_unknown', 'sent_without_lead_id',
    'settled_by_hand', 'erased'));

CREATE TABLE capi.erasure (
    erasure_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lead_id bigint CHECK (lead_id BETWEEN 100000000000000 AND 99999999999999999),
    requested_at timestamptz NOT NULL DEFAULT now(),
    done_at timestamptz,
    transitions bigint,
    bodies bigint,
    CHECK ((lead_id IS NULL) = (done_at IS NOT NULL))
);
COMMENT ON TABLE capi.erasure IS 'Requests to forget a person: insert a lead_id; the DAG crm_to_meta_erase or `make erase` carries it out';
COMMENT ON COLUMN capi.erasure.erasure_id IS 'In the order of asking';
COMMENT ON COLUMN capi.erasure.lead_id IS 'Whom to forget; forgotten here as well once it is done';
COMMENT ON COLUMN capi.erasure.requested_at IS 'When it was asked for';
COMMENT ON COLUMN capi.erasure.done_at IS 'When it was carried out';
COMMENT ON COLUMN capi.erasure.transitions IS 'How many rows of the ledger lost what pointed to the person';
COMMENT ON COLUMN capi.erasure.bodies IS 'How many stored request bodies went';
