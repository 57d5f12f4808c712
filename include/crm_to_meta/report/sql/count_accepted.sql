-- Rows that passed the contract, and so had their identifiers read.
SELECT coalesce(sum(accepted + held_back), 0) FROM capi.shard WHERE run_key = %(run_key)s
