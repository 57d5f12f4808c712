INSERT INTO capi.chunk (run_key, chunk_no, shard_no, events, event_ids, stages, dropped, body, body_sha256)
VALUES (%(run_key)s, %(chunk_no)s, %(shard_no)s, %(events)s, %(event_ids)s::uuid[], %(stages)s, %(dropped)s, %(body)s, %(body_sha256)s)
