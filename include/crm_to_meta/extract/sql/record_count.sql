-- The lease counts from the end of the work, which may have taken longer than a lease.
UPDATE capi.run SET
    staged = %(staged)s,
    extracted = %(extracted)s,
    held = %(held)s,
    lease_until = clock_timestamp() + %(lease)s
WHERE run_key = %(run_key)s
