SELECT chunk_no, events FROM capi.chunk
WHERE run_key = %(run_key)s AND shard_no = %(shard_no)s AND state IN ('ready', 'sending')
ORDER BY chunk_no
