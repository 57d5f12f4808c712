-- Value and currency are read as the rows are staged, so that validation judges what would be sent -------------------
CREATE FUNCTION capi.amount_from_text(amount text) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN length(amount) <= 100
                  AND amount ~ '^[ \t\r\n]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?[ \t\r\n]*$'
             THEN CASE WHEN abs(amount::numeric) <= 1e15 THEN amount::numeric END END $$;
COMMENT ON FUNCTION capi.amount_from_text IS
    'A number with a decimal point; NULL for anything else, and beyond 10^15, where a double (what JSON readers have) loses cents';

CREATE FUNCTION capi.currency_from_text(currency text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT upper(substring(currency FROM '^\s*([A-Za-z]{3})\s*$') COLLATE "C") $$;
COMMENT ON FUNCTION capi.currency_from_text IS 'Three letters as in ISO 4217, in capitals; NULL for anything else';

ALTER TABLE capi.staging DROP COLUMN value;
ALTER TABLE capi.staging ADD COLUMN value numeric;
ALTER TABLE capi.staging ADD COLUMN has_value boolean NOT NULL DEFAULT false;

ALTER TABLE capi.delivery DROP CONSTRAINT delivery_reason_check;
ALTER TABLE capi.delivery ADD CONSTRAINT delivery_reason_check CHECK (reason ~ '^meta_[0-9]+$' OR reason IN (
    'transition_id_missing', 'transition_id_duplicate', 'stage_missing', 'stage_unmapped', 'lead_id_invalid',
    'event_time_missing', 'event_time_invalid', 'event_time_future', 'event_before_lead', 'event_too_old',
    'value_invalid', 'value_without_currency', 'no_identifier', 'own_rule', 'opted_out', 'outcome_unknown',
    'sent_without_lead_id', 'settled_by_hand', 'erased'));

-- A blank that PostgreSQL's numbers do not take (U+2003) is no reason to stop a run ----------------------------------
CREATE OR REPLACE FUNCTION capi.time_from_epoch(seconds text) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN seconds ~ '^[ \t\r\n]*[0-9]{1,11}(\.[0-9]{1,9})?[ \t\r\n]*$' AND seconds::numeric < 253402300800
             THEN to_timestamp(seconds::double precision) END $$;

-- A lead id begins with no zero. Numbers of the ledger that lost their zeros, and are no lead id without them, point to
-- no lead, and an erasure could not ask for them.
UPDATE capi.delivery SET lead_id = NULL WHERE lead_id < 100000000000000;
COMMENT ON COLUMN capi.delivery.lead_id IS 'Meta''s lead id where it is 15-17 digits, the first not 0; NULL otherwise';
