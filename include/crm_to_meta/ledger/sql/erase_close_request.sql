UPDATE capi.erasure SET
    lead_id = NULL,
    done_at = clock_timestamp(),
    transitions = %(transitions)s,
    bodies = %(bodies)s
WHERE erasure_id = %(erasure_id)s
