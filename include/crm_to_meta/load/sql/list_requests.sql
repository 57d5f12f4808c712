SELECT part_start, part_end, without_lead_id, outcome, error_subcode
FROM capi.request
WHERE run_key = %(run_key)s AND chunk_no = %(chunk_no)s
ORDER BY request_id
