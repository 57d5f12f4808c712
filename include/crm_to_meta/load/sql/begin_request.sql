-- Write ahead: nothing is sent that this did not put on record. No row comes back where the run is not ours any more, or
-- somebody stopped it, or Meta asked the pipeline for a pause.
WITH alive AS (
    UPDATE capi.run SET lease_until = clock_timestamp() + %(lease)s
    WHERE run_key = %(run_key)s
        AND state = 'running'
        AND stop_reason IS NULL
        AND (paused_until IS NULL OR paused_until <= clock_timestamp()) -- seen even where another shard just set it
        AND NOT EXISTS (
            SELECT FROM capi.run AS other
            WHERE other.pipeline = %(pipeline)s AND other.paused_until > clock_timestamp() -- whether it has ended or not
        )
    RETURNING run_key
),
sending AS (
    UPDATE capi.chunk SET state = 'sending'
    FROM alive
    WHERE chunk.run_key = alive.run_key
        AND chunk_no = %(chunk_no)s
        AND state IN ('ready', 'sending')
        AND holder = %(holder)s
    RETURNING chunk.run_key, chunk.chunk_no
)
INSERT INTO capi.request (run_key, chunk_no, part_start, part_end, without_lead_id, attempt, mode, events)
SELECT run_key, chunk_no, %(part_start)s, %(part_end)s, %(without_lead_id)s, %(attempt)s, %(mode)s,
    %(part_end)s::integer - %(part_start)s::integer
FROM sending
RETURNING request_id
