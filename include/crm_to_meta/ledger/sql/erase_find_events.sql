SELECT lead_id, event_id FROM capi.delivery WHERE lead_id = ANY(%(lead_ids)s)
