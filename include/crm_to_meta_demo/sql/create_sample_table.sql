-- The source contract's default table. No key and no constraint on purpose: real syncs have none, and the sample has rows that break them.
CREATE TABLE crm.lead_stage_transitions (
    transition_id text,
    lead_id text,
    stage text,
    event_time timestamptz,
    lead_created_at timestamptz,
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
    fbclid text,
    fbp text,
    value numeric,
    currency text,
    opted_out boolean
)
