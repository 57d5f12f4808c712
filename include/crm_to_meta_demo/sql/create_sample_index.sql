-- The extract step looks for a window of event times.
CREATE INDEX lead_stage_transitions_event_time ON crm.lead_stage_transitions (event_time)
