-- Rows that passed the contract, and so had their identifiers read; and those among them that transform held back.
SELECT coalesce(sum(accepted + held_back), 0), coalesce(sum(held_back), 0) FROM capi.shard WHERE run_key = %(run_key)s
