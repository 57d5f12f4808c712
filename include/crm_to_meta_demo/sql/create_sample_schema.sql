-- The schema that the CRM's sync would own in a real warehouse.
CREATE SCHEMA IF NOT EXISTS crm
