-- Only while nobody else has put it in doubt: from then on others act on that.
UPDATE capi.request SET
    outcome = %(outcome)s,
    duration_ms = %(duration_ms)s,
    http_status = %(http_status)s,
    error_code = %(error_code)s,
    error_subcode = %(error_subcode)s,
    fbtrace_id = %(fbtrace_id)s,
    events_received = %(events_received)s
WHERE request_id = %(request_id)s AND outcome = 'sending'
RETURNING clock_timestamp()
