-- What somebody may have to ask Meta about comes first; of refused requests those of a single event, the last word.
SELECT sent_at, outcome, chunk_no, events, http_status, error_code, error_subcode, fbtrace_id
FROM capi.request
WHERE run_key = %(run_key)s AND outcome NOT IN ('sending', 'delivered')
ORDER BY
    array_position(ARRAY['stopped', 'in_doubt', 'rate_limited', 'not_processed', 'payload_refused'], outcome),
    events,
    request_id DESC
LIMIT %(limit)s
