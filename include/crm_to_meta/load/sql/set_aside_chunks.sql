-- Chunks with a transition that another run took over meanwhile: that run sends it. Of all shards, since opening the run
-- again would let a late worker of another shard go on as well.
UPDATE capi.chunk SET state = 'superseded'
WHERE run_key = %(run_key)s
    AND state IN ('ready', 'sending')
    AND EXISTS (
        SELECT FROM capi.delivery AS known
        WHERE known.event_id = ANY(chunk.event_ids) AND known.run_key <> chunk.run_key
    )
