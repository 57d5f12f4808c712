-- Test and preview runs leave the ledger alone: rows held back, events of chunks, and what was never transformed.
WITH held_back AS (
    SELECT coalesce(stage, '(none)') AS stage, status, reason, count(*) AS rows
    FROM {held_back}
    GROUP BY 1, 2, 3
    UNION ALL
    -- a repeated audit finds the rows held back gone: what the first one wrote down stands
    SELECT kept.stage, kept.status, kept.reason, kept.rows
    FROM capi.run AS run,
        jsonb_to_recordset(run.figures -> 'held_back') AS kept (stage text, status text, reason text, rows bigint)
    WHERE run.run_key = %(run_key)s AND NOT EXISTS (SELECT FROM {held_back})
),
remaining AS (
    SELECT
        run.staged
        - (SELECT coalesce(sum(events), 0) FROM capi.chunk WHERE chunk.run_key = run.run_key)
        - (SELECT coalesce(sum(rows), 0) FROM held_back) AS untransformed
    FROM capi.run AS run
    WHERE run.run_key = %(run_key)s
),
untouched AS (
    SELECT stage.key AS stage, 'pending' AS status, NULL AS reason, sum(stage.value::bigint) AS rows
    FROM capi.chunk AS chunk, jsonb_each_text(chunk.stages) AS stage
    WHERE chunk.run_key = %(run_key)s AND chunk.delivered + chunk.rejected = 0
    GROUP BY 1
),
touched AS (
    SELECT delivered, rejected, events - delivered - rejected AS pending
    FROM capi.chunk
    WHERE run_key = %(run_key)s AND delivered + rejected > 0
)
SELECT stage, status, reason, rows FROM held_back
UNION ALL
SELECT stage, status, reason, rows::bigint FROM untouched
UNION ALL
SELECT '(sent)', counted.status, NULL, sum(counted.rows)::bigint
FROM touched, LATERAL (
    VALUES ('delivered', delivered), ('rejected', rejected), ('pending', pending)
) AS counted (status, rows)
GROUP BY counted.status
HAVING sum(counted.rows) > 0
UNION ALL
SELECT '(not transformed)', 'pending', NULL, untransformed::bigint FROM remaining WHERE untransformed > 0
