-- The columns in the order of demo.sample_transition.COLUMNS.
COPY crm.lead_stage_transitions (
    transition_id, lead_id, stage, event_time, lead_created_at, email, phone, first_name, last_name, gender, date_of_birth,
    city, state, zip, country, external_id, fbclid, fbp, value, currency, opted_out
) FROM STDIN
