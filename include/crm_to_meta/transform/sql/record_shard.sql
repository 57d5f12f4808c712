INSERT INTO capi.shard (run_key, shard_no, accepted, held_back, fields)
VALUES (%(run_key)s, %(shard_no)s, %(accepted)s, %(held_back)s, %(fields)s)
