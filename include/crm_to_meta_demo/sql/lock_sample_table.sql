-- Readers go on; a second writer waits, and then sees this one's rows.
LOCK TABLE crm.lead_stage_transitions IN SHARE ROW EXCLUSIVE MODE
