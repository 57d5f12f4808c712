-- Meta's answers by HTTP status, code and subcode; NULL where no answer came.
SELECT http_status, error_code, error_subcode, count(*)
FROM capi.request
WHERE run_key = %(run_key)s AND outcome <> 'sending'
GROUP BY http_status, error_code, error_subcode
ORDER BY count(*) DESC, http_status, error_code, error_subcode
