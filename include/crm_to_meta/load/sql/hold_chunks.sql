-- From here on only this try sends the shard's chunks: an earlier one that wakes up late finds another holder.
UPDATE capi.chunk SET holder = %(holder)s
WHERE run_key = %(run_key)s AND shard_no = %(shard_no)s AND state IN ('ready', 'sending')
