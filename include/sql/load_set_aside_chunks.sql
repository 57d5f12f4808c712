-- Chunks with a transition that another run took over meanwhile: that run sends it.
UPDATE capi.chunk SET state = 'superseded'
WHERE run_key = %(run_key)s
    AND shard_no = %(shard_no)s
    AND state IN ('ready', 'sending')
    AND EXISTS (
        SELECT FROM capi.delivery AS known
        WHERE known.event_id = ANY(chunk.event_ids) AND known.run_key <> chunk.run_key
    )
