-- Everything before the last day was delivered; numbers below zero are transitions from before the source's first day.
INSERT INTO capi.run (run_key, pipeline, mode, dag_run_id, run_type, pass_no, window_start, window_end, is_sweep,
    configuration_digest, lease_until, state)
VALUES ('before', %(pipeline)s, 'live', 'before', 'scheduled', 1, %(last_midnight)s - interval '30 days',
    %(last_midnight)s - interval '1 day', true, '', %(last_midnight)s, 'succeeded');
INSERT INTO capi.delivery (event_id, pipeline, transition_id, lead_id, stage, event_name, event_time, status, run_key,
    source_digest)
SELECT
    encode(substring(sha256(convert_to(%(pipeline)s || E'\x1f' || number, 'UTF8')) FOR 16), 'hex')::uuid,
    %(pipeline)s,
    number::text,
    100000000000000 + number * 7919,
    'new',
    'Lead',
    %(last_midnight)s - make_interval(days => %(days)s) + number * interval '1 day' / %(candidates)s,
    'delivered',
    'before',
    sha256(number::text::bytea)
FROM generate_series(
    %(candidates)s::bigint * (%(days)s - 1) - %(ledger)s, %(candidates)s::bigint * (%(days)s - 1) - 1
) AS number
ORDER BY 1;
