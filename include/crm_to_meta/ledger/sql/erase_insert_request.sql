INSERT INTO capi.erasure (lead_id) VALUES (%(lead_id)s) RETURNING erasure_id
