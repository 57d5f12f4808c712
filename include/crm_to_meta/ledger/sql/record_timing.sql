-- Seconds of work of a step; mapped tasks and repeated tries add up. The run is alive: its lease is renewed, too.
UPDATE capi.run SET
    timings = timings || jsonb_build_object(
        %(step)s::text, round((coalesce((timings ->> %(step)s::text)::numeric, 0) + %(seconds)s::numeric), 3)),
    lease_until = greatest(lease_until, clock_timestamp() + %(lease)s)
WHERE run_key = %(run_key)s
