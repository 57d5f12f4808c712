-- What the rows that are there can be known by (_read_known_keys in demo/sample_warehouse.py).
SELECT transition_id, lead_id, stage
FROM crm.lead_stage_transitions
