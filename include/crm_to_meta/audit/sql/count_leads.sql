-- Leads by CRM stage, each once, as far as the ledger can tell them apart: by Meta's lead id.
SELECT
    coalesce(stage, '(none)'),
    count(DISTINCT lead_id),
    count(DISTINCT lead_id) FILTER (WHERE status = 'delivered'),
    count(*) FILTER (WHERE lead_id IS NULL)
FROM capi.delivery
WHERE run_key = %(run_key)s
GROUP BY 1
ORDER BY 1
