-- Test and preview runs leave the ledger alone: rows held back, events of chunks, and what was never transformed.
WITH held_back AS (
    SELECT coalesce(stage, '(none)') AS stage, status, reason, count(*) AS rows
    FROM {verdict}
    GROUP BY 1, 2, 3
),
chunked AS (
    SELECT
        coalesce(sum(events), 0) AS events,
        coalesce(sum(delivered), 0) AS delivered,
        coalesce(sum(rejected), 0) AS rejected,
        coalesce(sum(expired), 0) AS expired
    FROM capi.chunk
    WHERE run_key = %(run_key)s
),
staged AS (
    SELECT run.staged - chunked.events - (SELECT coalesce(sum(rows), 0) FROM held_back) AS untransformed
    FROM capi.run AS run, chunked
    WHERE run.run_key = %(run_key)s
),
untouched AS (
    SELECT stage.key AS stage, 'pending' AS status, NULL AS reason, sum(stage.value::bigint) AS rows
    FROM capi.chunk AS chunk, jsonb_each_text(chunk.stages) AS stage
    WHERE chunk.run_key = %(run_key)s AND chunk.delivered + chunk.rejected + chunk.expired = 0
    GROUP BY 1
),
touched AS (
    SELECT delivered, rejected, expired, events - delivered - rejected - expired AS pending
    FROM capi.chunk
    WHERE run_key = %(run_key)s AND delivered + rejected + expired > 0
)
SELECT stage, status, reason, rows FROM held_back
UNION ALL
SELECT stage, status, reason, rows::bigint FROM untouched
UNION ALL
SELECT '(sent)', counted.status, NULL, sum(counted.rows)::bigint
FROM touched, LATERAL (
    VALUES ('delivered', delivered), ('rejected', rejected), ('expired', expired), ('pending', pending)
) AS counted (status, rows)
GROUP BY counted.status
HAVING sum(counted.rows) > 0
UNION ALL
SELECT '(not transformed)', 'pending', NULL, untransformed::bigint FROM staged WHERE untransformed > 0
