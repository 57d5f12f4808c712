-- Rules of a pipeline file's own hold rows back, too -----------------------------------------------------------------
ALTER TABLE capi.delivery DROP CONSTRAINT delivery_reason_check;
ALTER TABLE capi.delivery ADD CONSTRAINT delivery_reason_check CHECK (reason ~ '^meta_[0-9]+$' OR reason IN (
    'transition_id_missing', 'transition_id_duplicate', 'stage_missing', 'stage_unmapped', 'lead_id_invalid',
    'event_time_missing', 'event_time_invalid', 'event_time_future', 'event_before_lead', 'event_too_old',
    'value_without_currency', 'no_identifier', 'own_rule', 'opted_out', 'outcome_unknown', 'sent_without_lead_id',
    'settled_by_hand', 'erased'));

-- What Great Expectations said, as a whole ---------------------------------------------------------------------------
CREATE TABLE capi.quality_result (
    run_key text PRIMARY KEY REFERENCES capi.run ON DELETE CASCADE,
    result jsonb NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE capi.quality_result IS 'One row per run: the whole result of Great Expectations, without values';
COMMENT ON COLUMN capi.quality_result.run_key IS 'The run whose rows were judged';
COMMENT ON COLUMN capi.quality_result.result IS 'As Great Expectations writes it: expectations, counts and shares; never a value of a row';
COMMENT ON COLUMN capi.quality_result.recorded_at IS 'When validate wrote it';

COMMENT ON COLUMN capi.quality.reason IS 'The reason code that failing rows get; for rules about the batch, what is odd about it';
COMMENT ON COLUMN capi.quality.checked IS 'Rows that the rule was applied to; 0 where it was not judged';
COMMENT ON COLUMN capi.quality.observed IS 'A share or a number, for rules about the batch; or why such a rule was not judged';

-- A time of a wall clock that was put forward over it is no point in time: it is not moved to one --------------------
CREATE FUNCTION capi.time_from_local(moment timestamp, zone text) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN (moment AT TIME ZONE zone) AT TIME ZONE zone = moment
             THEN capi.finite_time(moment AT TIME ZONE zone) END $$;
COMMENT ON FUNCTION capi.time_from_local IS 'A time of a zone''s wall clock; NULL in the hour that is left out in spring';

CREATE OR REPLACE FUNCTION capi.time_from_text(moment text, zone text) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE
AS $$
BEGIN
    IF moment !~ '^\s*[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?\s*(Z|z|[+-][0-9]{2}(:?[0-9]{2})?)?\s*$' THEN
        RETURN NULL;
    ELSIF moment ~ '(Z|z|[+-][0-9]{2}(:?[0-9]{2})?)\s*$' THEN
        RETURN capi.finite_time(replace(moment, ',', '.')::timestamptz);
    END IF;
    RETURN capi.time_from_local(replace(moment, ',', '.')::timestamp, zone);
EXCEPTION WHEN datetime_field_overflow OR invalid_datetime_format OR invalid_time_zone_displacement_value THEN
    RETURN NULL;
END
$$;
