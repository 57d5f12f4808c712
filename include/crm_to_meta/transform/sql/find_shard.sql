SELECT
    accepted,
    (SELECT count(*) FROM capi.chunk WHERE chunk.run_key = shard.run_key AND chunk.shard_no = shard.shard_no),
    held_back
FROM capi.shard AS shard
WHERE run_key = %(run_key)s AND shard_no = %(shard_no)s
