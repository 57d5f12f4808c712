-- A run and all that is about it alone; the state again, since somebody may have cleared one of its tasks meanwhile.
WITH run AS (
    DELETE FROM capi.run WHERE run_key = %(run_key)s AND state <> 'running' RETURNING run_key
),
request AS (
    DELETE FROM capi.request USING run WHERE request.run_key = run.run_key
),
quality AS (
    DELETE FROM capi.quality USING run WHERE quality.run_key = run.run_key
),
chunk AS (
    DELETE FROM capi.chunk USING run WHERE chunk.run_key = run.run_key
),
shard AS (
    DELETE FROM capi.shard USING run WHERE shard.run_key = run.run_key
)
DELETE FROM capi.delivery USING run WHERE delivery.run_key = run.run_key
