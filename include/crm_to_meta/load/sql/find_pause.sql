-- Seconds left of the longest pause that Meta asked any run of the pipeline for; NULL where that is not what keeps the
-- holder of the chunk from sending.
SELECT extract(epoch FROM max(paused_until) - clock_timestamp())::double precision
FROM capi.run
WHERE pipeline = %(pipeline)s
    AND paused_until > clock_timestamp()
    AND EXISTS (
        SELECT FROM capi.chunk
        WHERE chunk.run_key = %(run_key)s
            AND chunk_no = %(chunk_no)s
            AND holder = %(holder)s
            AND chunk.state IN ('ready', 'sending')
    )
