-- When the last request that Meta took was sent: whatever was refused before then was not refused for a lack of permission.
SELECT max(sent_at) FROM capi.request WHERE run_key = %(run_key)s AND outcome = 'delivered'
