-- Stage and status stay, since runs count them. What was to be sent is not sent any more.
UPDATE capi.delivery SET
    transition_id = NULL,
    lead_id = NULL,
    event_time = NULL,
    fbtrace_id = NULL,
    source_digest = NULL,
    status = CASE status WHEN 'pending' THEN 'skipped' ELSE status END,
    reason = CASE status WHEN 'pending' THEN 'erased' ELSE reason END,
    erased_at = clock_timestamp(),
    updated_at = clock_timestamp()
WHERE event_id = ANY(%(event_ids)s::uuid[]) AND lead_id IS NOT NULL -- an earlier request may have been for the same lead
