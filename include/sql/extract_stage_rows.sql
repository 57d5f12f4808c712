-- The run's work set: rows of the window that the ledger does not show as finished, snapshot in one statement.
-- Identifiers and time expressions come from the pipeline file, see extract.py.
INSERT INTO {staging}
WITH source AS (
    SELECT
        CASE WHEN btrim({transition_id}::text, E' \t\r\n') <> '' THEN {transition_id}::text END AS transition_id,
        regexp_replace(btrim({lead_id}::text, E' \t\r\n'), '^l:\s*', '') AS lead_id,
        btrim({stage}::text, E' \t\r\n') AS stage,
        {event_moment} AS event_time,
        {event_time} IS NOT NULL AS has_event_time,
        {lead_created_moment} AS lead_created_at,
        coalesce(lower(btrim({opted_out}::text)), '') NOT IN ('', 'f', 'false', 'n', 'no', 'off', '0') AS opted_out,
        {value}::text AS value,
        {currency}::text AS currency,
        {email}::text AS email,
        {phone}::text AS phone,
        {first_name}::text AS first_name,
        {last_name}::text AS last_name,
        {gender}::text AS gender,
        {date_of_birth}::text AS date_of_birth,
        {city}::text AS city,
        {state}::text AS state,
        {zip}::text AS zip,
        {country}::text AS country,
        {external_id}::text AS external_id,
        {fbc}::text AS fbc,
        {fbclid}::text AS fbclid,
        {fbp}::text AS fbp,
        sha256(convert_to(%(configuration_digest)s::text || ROW({all_columns})::text, 'UTF8')) AS source_digest
    FROM {source}
    WHERE {in_window} OR (%(is_sweep)s AND {has_no_window})
),
identified AS (
    SELECT
        source.*,
        -- the same as models.event_id_of; a row without an id gets one from its content
        substring(sha256(CASE
            WHEN transition_id IS NULL THEN convert_to(%(pipeline)s::text || E'\x1fno transition id\x1f', 'UTF8') || source_digest
            ELSE convert_to(%(pipeline)s::text || E'\x1f' || transition_id, 'UTF8')
        END) FOR 16) AS base_id
    FROM source
),
numbered AS (
    -- of rows that share a transition id the first in time stands for it; each other one has an event id of its own
    SELECT
        identified.*,
        row_number() OVER (PARTITION BY base_id ORDER BY event_time, source_digest) AS occurrence
    FROM identified
),
named AS (
    SELECT
        numbered.*,
        encode(CASE occurrence
            WHEN 1 THEN base_id
            ELSE substring(sha256(base_id || convert_to(occurrence::text, 'UTF8')) FOR 16)
        END, 'hex')::uuid AS event_id
    FROM numbered
),
candidate AS (
    SELECT named.*
    FROM named
    LEFT JOIN capi.delivery AS known ON known.event_id = named.event_id
    LEFT JOIN capi.run AS owner ON owner.run_key = known.run_key AND owner.state = 'running'
    WHERE
        known.event_id IS NULL
        OR (owner.run_key IS NULL AND CASE known.status
            WHEN 'pending' THEN true
            WHEN 'delivered' THEN false
            WHEN 'in_doubt' THEN %(resend_in_doubt)s AND known.doubted_at > %(now)s - %(deduplication_window)s
            ELSE
                known.source_digest IS DISTINCT FROM named.source_digest
                OR (known.reason = 'event_time_future' AND named.event_time <= %(now)s)
        END)
),
chosen AS (
    SELECT * FROM candidate {choice}
),
mapped AS (
    SELECT unnest(%(crm_stages)s::text[]) AS crm_stage, unnest(%(event_names)s::text[]) AS event_name
)
SELECT
    row_number() OVER (ORDER BY event_time NULLS FIRST, base_id, occurrence) AS row_no,
    event_id,
    transition_id,
    occurrence,
    source_digest,
    nullif(lead_id, '') AS lead_id,
    nullif(stage, '') AS stage,
    mapped.event_name,
    event_time,
    has_event_time,
    lead_created_at,
    opted_out,
    concat(lead_id, email, phone, first_name, last_name, gender, date_of_birth, city, state, zip, country,
        external_id, fbc, fbclid, fbp) ~ '\S' AS has_identifier,
    value,
    currency,
    email,
    phone,
    first_name,
    last_name,
    gender,
    date_of_birth,
    city,
    state,
    zip,
    country,
    external_id,
    fbc,
    fbclid,
    fbp
FROM chosen
LEFT JOIN mapped ON mapped.crm_stage = chosen.stage
ORDER BY row_no
