-- Of runs that ended; an open run decides by itself. A NULL for the run means all of them. Who decided is on record.
WITH settled AS (
    UPDATE capi.delivery AS known SET
        status = %(status)s,
        reason = %(reason)s,
        updated_at = clock_timestamp()
    FROM capi.run AS run
    WHERE run.run_key = known.run_key
        AND run.pipeline = %(pipeline)s
        AND run.state <> 'running'
        AND run.run_key = coalesce(%(run_key)s::text, run.run_key)
        AND known.status = 'in_doubt'
        AND known.erased_at IS NULL
    RETURNING run.run_key
)
INSERT INTO capi.decision (run_key, decision, events, decided_by)
SELECT run_key, %(decision)s, count(*), %(decided_by)s FROM settled GROUP BY run_key
RETURNING events
