-- For each of Meta's fields: how many values were usable, and how many were dropped for which reason.
SELECT jsonb_object_agg(field, outcomes)
FROM (
    SELECT field, jsonb_object_agg(outcome, rows) AS outcomes
    FROM (
        SELECT field.key AS field, outcome.key AS outcome, sum(outcome.value::bigint)::bigint AS rows
        FROM capi.shard AS shard, jsonb_each(shard.fields) AS field, jsonb_each_text(field.value) AS outcome
        WHERE shard.run_key = %(run_key)s
        GROUP BY 1, 2
    ) AS summed
    GROUP BY field
) AS per_field
