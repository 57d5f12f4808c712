-- How demo/sample_warehouse.py knows its own table again (MARKER).
COMMENT ON TABLE crm.lead_stage_transitions IS
    'crm-to-meta sample data: every row is invented, no person is meant. Made by include/demo/sample_crm.py; drop it at will.'
