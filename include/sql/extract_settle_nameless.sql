-- A row without a transition id has its content for an id. One that a dead run left pending and that has changed since,
-- or was read by another pipeline file, is found by no later run: it can never be sent, and that goes on record.
UPDATE capi.delivery AS known SET
    status = 'quarantined',
    reason = 'transition_id_missing',
    updated_at = clock_timestamp()
WHERE known.pipeline = %(pipeline)s
    AND known.status = 'pending'
    AND known.transition_id IS NULL
    AND NOT EXISTS (SELECT FROM capi.run AS owner WHERE owner.run_key = known.run_key AND owner.state = 'running')
