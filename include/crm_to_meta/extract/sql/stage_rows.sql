-- The run's work set: rows of the window that the ledger does not show as finished, snapshot in one statement.
-- Names of columns and time expressions come from the pipeline file, see extract/source.py: personal_columns is a list such
-- as "E-mail"::text AS email, personal_fields the same list's names. The window is read three times over,
-- since sorting all of it to find the few rows that share an id costs more: docs/extract-plan.md.
INSERT INTO {staging} (row_no, event_id, transition_id, occurrence, source_digest, lead_id, stage, event_name, event_time,
    has_event_time, lead_created_at, opted_out, value, has_value, currency, has_identifier, former_run_key,
    {personal_fields})
WITH source AS NOT MATERIALIZED (
    SELECT
        CASE WHEN btrim({transition_id}::text, E' \t\r\n') <> '' THEN {transition_id}::text END AS transition_id,
        regexp_replace(btrim({lead_id}::text, E' \t\r\n'), '^l:\s*', '') AS lead_id,
        btrim({stage}::text, E' \t\r\n') AS stage,
        {event_moment} AS event_time,
        {event_time} IS NOT NULL AS has_event_time,
        {lead_created_moment} AS lead_created_at,
        coalesce(lower(btrim({opted_out}::text)), '') NOT IN ('', 'f', 'false', 'n', 'no', 'off', '0') AS opted_out,
        capi.amount_from_text({value}::text) AS value,
        coalesce({value}::text, '') ~ '\S' AS has_value,
        capi.currency_from_text({currency}::text) AS currency,
        {personal_columns},
        ROW({all_columns})::text AS content
    FROM {source}
    WHERE {in_window} OR (%(is_sweep)s AND {has_no_window})
),
shared AS (
    SELECT transition_id FROM source WHERE transition_id IS NOT NULL GROUP BY 1 HAVING count(*) > 1
),
plain AS (
    SELECT source.*, convert_to(%(pipeline)s::text || E'\x1f' || transition_id, 'UTF8') AS name, 1 AS occurrence
    FROM source
    WHERE transition_id IS NOT NULL AND transition_id NOT IN (SELECT shared.transition_id FROM shared)
),
numbered AS (
    -- of rows that share a transition id the first in time stands for it; each other one has an event id of its own.
    -- A row without an id is named by its content.
    SELECT
        source.*,
        convert_to(%(pipeline)s::text || E'\x1f' || coalesce(transition_id, E'no transition id\x1f' || content), 'UTF8') AS name,
        row_number() OVER (
            PARTITION BY transition_id, CASE WHEN transition_id IS NULL THEN content END
            ORDER BY event_time, content
        ) AS occurrence
    FROM source
    WHERE transition_id IS NULL OR transition_id IN (SELECT shared.transition_id FROM shared)
),
identified AS (
    -- the same as models.event_id_of
    SELECT plain.*, encode(substring(sha256(name) FOR 16), 'hex')::uuid AS event_id FROM plain
    UNION ALL
    SELECT
        numbered.*,
        encode(CASE occurrence
            WHEN 1 THEN substring(sha256(name) FOR 16)
            ELSE substring(sha256(substring(sha256(name) FOR 16) || convert_to(occurrence::text, 'UTF8')) FOR 16)
        END, 'hex')::uuid
    FROM numbered
),
candidate AS (
    SELECT
        identified.*,
        sha256(convert_to(%(configuration_digest)s::text || content, 'UTF8')) AS source_digest,
        known.run_key AS former_run_key
    FROM identified
    LEFT JOIN capi.delivery AS known ON known.event_id = identified.event_id
    LEFT JOIN capi.run AS owner ON owner.run_key = known.run_key AND owner.state = 'running'
    WHERE
        known.event_id IS NULL
        OR (owner.run_key IS NULL AND known.erased_at IS NULL AND CASE known.status
            WHEN 'pending' THEN true
            WHEN 'delivered' THEN false
            WHEN 'in_doubt' THEN %(resend_in_doubt)s AND known.doubted_at > %(now)s - %(deduplication_window)s
            ELSE
                known.source_digest
                IS DISTINCT FROM sha256(convert_to(%(configuration_digest)s::text || content, 'UTF8'))
                OR (known.reason = 'event_time_future' AND identified.event_time <= %(now)s)
        END)
),
chosen AS (
    SELECT * FROM candidate {choice}
),
mapped AS (
    SELECT unnest(%(crm_stages)s::text[]) AS crm_stage, unnest(%(event_names)s::text[]) AS event_name
)
SELECT
    row_number() OVER (ORDER BY event_time NULLS FIRST, event_id) AS row_no,
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
    value,
    has_value,
    currency,
    concat(lead_id, {personal_fields}) ~ '\S' AS has_identifier,
    former_run_key,
    {personal_fields}
FROM chosen
LEFT JOIN mapped ON mapped.crm_stage = chosen.stage
ORDER BY event_time NULLS FIRST, event_id -- as row_no, which sorts once for both
