-- For each of Meta's fields: how many values were usable, and how many were dropped for which reason.
SELECT field.key, outcome.key, sum(outcome.value::bigint)::bigint
FROM capi.shard AS shard, jsonb_each(shard.fields) AS field, jsonb_each_text(field.value) AS outcome
WHERE run_key = %(run_key)s AND (%(shard_no)s::integer IS NULL OR shard_no = %(shard_no)s)
GROUP BY 1, 2
ORDER BY 1, 3 DESC
