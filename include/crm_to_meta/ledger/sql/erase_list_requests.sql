SELECT erasure_id, lead_id FROM capi.erasure WHERE done_at IS NULL ORDER BY erasure_id FOR UPDATE
