CREATE SCHEMA IF NOT EXISTS capi;
COMMENT ON SCHEMA capi IS 'crm-to-meta: what was sent to Meta''s Conversions API, and what became of it';

CREATE TABLE capi.migration (
    name text PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE capi.migration IS 'Migrations of this schema that were applied';

-- One row per pass of a DAG run -------------------------------------------------------------------------------------
CREATE TABLE capi.run (
    run_key text PRIMARY KEY,
    pipeline text NOT NULL,
    mode text NOT NULL CHECK (mode IN ('live', 'test', 'preview')),
    dag_run_id text NOT NULL,
    run_type text NOT NULL,
    pass_no integer NOT NULL,
    window_start timestamptz NOT NULL,
    window_end timestamptz NOT NULL CHECK (window_end > window_start),
    is_sweep boolean NOT NULL,
    configuration_digest text NOT NULL,
    state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'succeeded', 'failed', 'abandoned')),
    lease_until timestamptz NOT NULL,
    stop_reason text,
    quality_verdict text CHECK (quality_verdict IN ('passed', 'warned', 'failed')),
    extracted bigint NOT NULL DEFAULT 0,
    delivered bigint NOT NULL DEFAULT 0,
    rejected bigint NOT NULL DEFAULT 0,
    in_doubt bigint NOT NULL DEFAULT 0,
    quarantined bigint NOT NULL DEFAULT 0,
    expired bigint NOT NULL DEFAULT 0,
    skipped bigint NOT NULL DEFAULT 0,
    pending bigint NOT NULL DEFAULT 0,
    staged bigint NOT NULL DEFAULT 0,
    held bigint NOT NULL DEFAULT 0,
    taken_over bigint NOT NULL DEFAULT 0,
    requests bigint NOT NULL DEFAULT 0,
    timings jsonb NOT NULL DEFAULT '{}',
    figures jsonb NOT NULL DEFAULT '{}',
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
CREATE INDEX run_by_dag_run ON capi.run (pipeline, dag_run_id);
CREATE INDEX run_by_start ON capi.run (pipeline, started_at);
CREATE INDEX run_running ON capi.run (pipeline) WHERE state = 'running';
COMMENT ON TABLE capi.run IS 'One row per pass of a DAG run: its window, its counts per status, how it ended';
COMMENT ON COLUMN capi.run.run_key IS 'Last day of the window, digest of DAG run and window, number of the pass';
COMMENT ON COLUMN capi.run.pass_no IS '1 for the first pass of a DAG run; clearing the whole DAG run starts another';
COMMENT ON COLUMN capi.run.is_sweep IS 'true: the window reaches back over the lookback; false: exactly one interval';
COMMENT ON COLUMN capi.run.configuration_digest IS 'Digest of the pipeline file that the run was made with';
COMMENT ON COLUMN capi.run.lease_until IS 'While a running run''s lease lasts, no other run takes its transitions';
COMMENT ON COLUMN capi.run.stop_reason IS 'Why sending was stopped for all shards at once, such as auth_190';
COMMENT ON COLUMN capi.run.extracted IS 'Rows of the work set; equals the sum of the seven counts that follow';
COMMENT ON COLUMN capi.run.staged IS 'Rows copied from the source; the rest of extracted expired in the ledger alone';
COMMENT ON COLUMN capi.run.held IS 'Transitions of the window that another live run was working on (not extracted)';
COMMENT ON COLUMN capi.run.taken_over IS 'Rows that a later run took and counts; extracted less these are in the seven counts';
COMMENT ON COLUMN capi.run.timings IS 'Seconds of work per step; mapped tasks are added up';
COMMENT ON COLUMN capi.run.figures IS 'Counts by CRM stage and status, by reason, and per field; never a value';
COMMENT ON COLUMN capi.run.pipeline IS 'Name of the pipeline file';
COMMENT ON COLUMN capi.run.mode IS 'live sends; test sends a few events with a test code; preview sends nothing';
COMMENT ON COLUMN capi.run.dag_run_id IS 'Airflow''s id of the DAG run';
COMMENT ON COLUMN capi.run.run_type IS 'Airflow''s: scheduled, manual, backfill, asset_triggered';
COMMENT ON COLUMN capi.run.window_start IS 'First event time that the run is about';
COMMENT ON COLUMN capi.run.window_end IS 'End of the window; events at this moment belong to the next one';
COMMENT ON COLUMN capi.run.state IS 'running; succeeded or failed, as audit found; abandoned: the worker died, another run took over';
COMMENT ON COLUMN capi.run.quality_verdict IS 'The worst of the run''s rows in capi.quality; NULL before validate';
COMMENT ON COLUMN capi.run.delivered IS 'Rows that Meta has taken';
COMMENT ON COLUMN capi.run.rejected IS 'Rows that Meta refused one by one';
COMMENT ON COLUMN capi.run.in_doubt IS 'Rows that were sent with unknown outcome';
COMMENT ON COLUMN capi.run.quarantined IS 'Rows that break a rule';
COMMENT ON COLUMN capi.run.expired IS 'Rows that are too old for Meta';
COMMENT ON COLUMN capi.run.skipped IS 'Rows that are not to be sent, such as opted-out leads';
COMMENT ON COLUMN capi.run.pending IS 'Rows that are still to be sent';
COMMENT ON COLUMN capi.run.requests IS 'HTTP requests, repeated ones included';
COMMENT ON COLUMN capi.run.started_at IS 'When extract made the row';
COMMENT ON COLUMN capi.run.finished_at IS 'When audit closed the run, or another run gave it up';

-- The ledger ---------------------------------------------------------------------------------------------------------
CREATE TABLE capi.delivery (
    event_id uuid PRIMARY KEY,
    pipeline text NOT NULL,
    transition_id text,
    lead_id bigint,
    stage text,
    event_name text,
    event_time timestamptz,
    status text NOT NULL CHECK (status IN
        ('pending', 'delivered', 'rejected', 'in_doubt', 'quarantined', 'expired', 'skipped')),
    reason text CHECK (reason ~ '^meta_[0-9]+$' OR reason IN (
        'transition_id_missing', 'transition_id_duplicate', 'stage_missing', 'stage_unmapped', 'lead_id_invalid',
        'event_time_missing', 'event_time_invalid', 'event_time_future', 'event_before_lead', 'event_too_old',
        'value_without_currency', 'no_identifier', 'opted_out', 'outcome_unknown', 'sent_without_lead_id')),
    run_key text NOT NULL,
    chunk_no integer,
    fbtrace_id text,
    doubts smallint NOT NULL DEFAULT 0,
    doubted_at timestamptz,
    source_digest bytea,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX delivery_by_run ON capi.delivery (run_key);
CREATE INDEX delivery_open ON capi.delivery (pipeline, event_time) WHERE status IN ('pending', 'in_doubt');
CREATE INDEX delivery_by_lead ON capi.delivery (lead_id) WHERE lead_id IS NOT NULL;
COMMENT ON TABLE capi.delivery IS 'The ledger: one row per transition that a live run has seen, with its status';
COMMENT ON COLUMN capi.delivery.event_id IS 'Pure function of pipeline and transition_id; sent to Meta as event_id';
COMMENT ON COLUMN capi.delivery.lead_id IS 'Meta''s lead id where it is 15-17 digits; NULL otherwise';
COMMENT ON COLUMN capi.delivery.stage IS 'The CRM''s stage, cut at 100 characters';
COMMENT ON COLUMN capi.delivery.reason IS 'Why it has its status; README.md has the list; meta_<n> is Meta''s (sub)code';
COMMENT ON COLUMN capi.delivery.run_key IS 'The run that works, or last worked, on it';
COMMENT ON COLUMN capi.delivery.doubts IS 'How often it was sent with unknown outcome; more than 0 may mean a duplicate';
COMMENT ON COLUMN capi.delivery.doubted_at IS 'When it was last sent with unknown outcome';
COMMENT ON COLUMN capi.delivery.source_digest IS 'Digest of row and configuration; a changed one is judged again';
COMMENT ON COLUMN capi.delivery.pipeline IS 'Name of the pipeline file';
COMMENT ON COLUMN capi.delivery.transition_id IS 'The CRM''s id of the stage change';
COMMENT ON COLUMN capi.delivery.event_name IS 'What the pipeline''s stage map makes of the stage; sent to Meta';
COMMENT ON COLUMN capi.delivery.event_time IS 'When the lead moved to the stage; NULL where the source has no readable time';
COMMENT ON COLUMN capi.delivery.status IS 'pending, delivered, rejected, in_doubt, quarantined, expired or skipped';
COMMENT ON COLUMN capi.delivery.chunk_no IS 'The request body of that run that it was sent in';
COMMENT ON COLUMN capi.delivery.fbtrace_id IS 'Of the last answer; what Meta''s support asks for';
COMMENT ON COLUMN capi.delivery.first_seen_at IS 'When a run first extracted it';
COMMENT ON COLUMN capi.delivery.updated_at IS 'When its status was last written';

-- One row per HTTP attempt -------------------------------------------------------------------------------------------
CREATE TABLE capi.request (
    request_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_key text NOT NULL,
    chunk_no integer NOT NULL,
    part_start integer NOT NULL,
    part_end integer NOT NULL CHECK (part_end > part_start),
    without_lead_id boolean NOT NULL DEFAULT false,
    attempt integer NOT NULL,
    mode text NOT NULL CHECK (mode IN ('live', 'test', 'preview')),
    events integer NOT NULL,
    sent_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    duration_ms integer,
    http_status integer,
    error_code integer,
    error_subcode integer,
    fbtrace_id text,
    events_received integer,
    outcome text NOT NULL DEFAULT 'sending' CHECK (outcome IN
        ('sending', 'delivered', 'payload_refused', 'not_processed', 'rate_limited', 'stopped', 'in_doubt'))
);
CREATE INDEX request_by_chunk ON capi.request (run_key, chunk_no);
COMMENT ON TABLE capi.request IS 'One row per HTTP request to Meta, written before it is sent';
COMMENT ON COLUMN capi.request.part_start IS 'First event of the chunk in this request (counted from 0)';
COMMENT ON COLUMN capi.request.part_end IS 'One past the last event of the chunk in this request';
COMMENT ON COLUMN capi.request.without_lead_id IS 'The second try of an event whose lead id Meta does not know';
COMMENT ON COLUMN capi.request.fbtrace_id IS 'What Meta''s support asks for';
COMMENT ON COLUMN capi.request.outcome IS 'sending: no answer yet, or the worker died; in_doubt: outcome unknown';
COMMENT ON COLUMN capi.request.request_id IS 'In the order of sending';
COMMENT ON COLUMN capi.request.run_key IS 'The run that sent it';
COMMENT ON COLUMN capi.request.chunk_no IS 'The chunk whose events it held';
COMMENT ON COLUMN capi.request.attempt IS '1 for the first try of this part within a task';
COMMENT ON COLUMN capi.request.mode IS 'live or test';
COMMENT ON COLUMN capi.request.events IS 'How many events it held';
COMMENT ON COLUMN capi.request.sent_at IS 'When it was about to be sent';
COMMENT ON COLUMN capi.request.duration_ms IS 'Until the answer, in milliseconds';
COMMENT ON COLUMN capi.request.http_status IS 'NULL where no answer came';
COMMENT ON COLUMN capi.request.error_code IS 'Meta''s error code';
COMMENT ON COLUMN capi.request.error_subcode IS 'Meta''s error subcode';
COMMENT ON COLUMN capi.request.events_received IS 'How many events Meta says it received';

-- One row per expectation and run ------------------------------------------------------------------------------------
CREATE TABLE capi.quality (
    run_key text NOT NULL,
    position integer NOT NULL,
    expectation text NOT NULL,
    column_name text,
    reason text NOT NULL,
    description text NOT NULL,
    severity text NOT NULL CHECK (severity IN ('critical', 'warning', 'info')),
    checked bigint NOT NULL,
    failed bigint NOT NULL,
    success boolean NOT NULL,
    observed text,
    PRIMARY KEY (run_key, position)
);
COMMENT ON TABLE capi.quality IS 'One row per Great Expectations expectation and run: counts, never values';
COMMENT ON COLUMN capi.quality.reason IS 'The reason code that failing rows get';
COMMENT ON COLUMN capi.quality.run_key IS 'The run whose rows were judged';
COMMENT ON COLUMN capi.quality.position IS 'Place in the contract; a row gets the reason of the first rule that it breaks';
COMMENT ON COLUMN capi.quality.expectation IS 'Type of the Great Expectations expectation';
COMMENT ON COLUMN capi.quality.column_name IS 'The staged column that it is about; NULL for rules about the batch';
COMMENT ON COLUMN capi.quality.description IS 'The rule as a sentence';
COMMENT ON COLUMN capi.quality.severity IS 'critical stops the run; warning and info do not';
COMMENT ON COLUMN capi.quality.checked IS 'Rows that the rule was applied to';
COMMENT ON COLUMN capi.quality.failed IS 'Rows that break it';
COMMENT ON COLUMN capi.quality.success IS 'Whether none broke it';
COMMENT ON COLUMN capi.quality.observed IS 'A share or a number, for rules about the batch';

-- In flight (internal) -----------------------------------------------------------------------------------------------
CREATE TABLE capi.chunk (
    run_key text NOT NULL,
    chunk_no integer NOT NULL,
    shard_no integer NOT NULL,
    events integer NOT NULL CHECK (events > 0),
    event_ids uuid[] NOT NULL,
    stages jsonb NOT NULL,
    body bytea NOT NULL,
    body_sha256 bytea NOT NULL,
    state text NOT NULL DEFAULT 'ready' CHECK (state IN ('ready', 'sending', 'done', 'superseded')),
    delivered integer NOT NULL DEFAULT 0,
    rejected integer NOT NULL DEFAULT 0,
    holder uuid,
    PRIMARY KEY (run_key, chunk_no)
);
ALTER TABLE capi.chunk ALTER COLUMN body SET STORAGE EXTERNAL;
COMMENT ON TABLE capi.chunk IS 'Internal: request bodies (zlib), exactly as they are or were sent';

CREATE TABLE capi.shard (
    run_key text NOT NULL,
    shard_no integer NOT NULL,
    accepted integer NOT NULL,
    held_back integer NOT NULL,
    fields jsonb NOT NULL,
    PRIMARY KEY (run_key, shard_no)
);
COMMENT ON TABLE capi.shard IS 'Internal: shards that were transformed, with counts per field of what was usable';

CREATE TABLE capi.staging (
    row_no integer PRIMARY KEY,
    event_id uuid NOT NULL,
    transition_id text,
    occurrence integer NOT NULL,
    source_digest bytea NOT NULL,
    lead_id text,
    stage text,
    event_name text,
    event_time timestamptz,
    has_event_time boolean NOT NULL,
    lead_created_at timestamptz,
    opted_out boolean NOT NULL,
    has_identifier boolean NOT NULL,
    value text,
    currency text,
    email text,
    phone text,
    first_name text,
    last_name text,
    gender text,
    date_of_birth text,
    city text,
    state text,
    zip text,
    country text,
    external_id text,
    fbc text,
    fbclid text,
    fbp text
);
COMMENT ON TABLE capi.staging IS 'Internal, always empty: the shape of a run''s own staging table';

CREATE TABLE capi.verdict (
    row_no integer PRIMARY KEY,
    event_id uuid NOT NULL,
    stage text,
    status text NOT NULL,
    reason text NOT NULL
);
COMMENT ON TABLE capi.verdict IS 'Internal, always empty: the shape of a run''s own table of rows held back';

-- Reading times of a source without ever inventing one ---------------------------------------------------------------
CREATE FUNCTION capi.finite_time(moment timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN moment BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-30 00:00:00+00' THEN moment END $$;
COMMENT ON FUNCTION capi.finite_time IS 'The moment itself; NULL for infinity and beyond the years 1 to 9999, which Python has';

CREATE FUNCTION capi.time_from_epoch(seconds text) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN seconds ~ '^\s*[0-9]{1,11}(\.[0-9]{1,9})?\s*$' AND seconds::numeric < 253402300800
             THEN to_timestamp(seconds::double precision) END $$;
COMMENT ON FUNCTION capi.time_from_epoch IS 'Epoch seconds up to year 9999; NULL for anything else, milliseconds too';

CREATE FUNCTION capi.time_from_text(moment text, zone text) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE
AS $$
BEGIN
    IF moment !~ '^\s*[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?\s*(Z|z|[+-][0-9]{2}(:?[0-9]{2})?)?\s*$' THEN
        RETURN NULL;
    ELSIF moment ~ '(Z|z|[+-][0-9]{2}(:?[0-9]{2})?)\s*$' THEN
        RETURN capi.finite_time(replace(moment, ',', '.')::timestamptz);
    END IF;
    RETURN capi.finite_time(replace(moment, ',', '.')::timestamp AT TIME ZONE zone);
EXCEPTION WHEN datetime_field_overflow OR invalid_datetime_format OR invalid_time_zone_displacement_value THEN
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION capi.time_from_text IS 'ISO 8601 date and time, read in the zone where it has no offset; else NULL';
