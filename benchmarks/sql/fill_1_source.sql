-- So many transitions a day, evenly spread over the days before the last midnight.
CREATE SCHEMA crm;
CREATE TABLE crm.lead_stage_transitions AS
SELECT
    number::text AS transition_id,
    100000000000000 + number * 7919 AS lead_id,
    (ARRAY['new', 'contacted', 'qualified'])[1 + number %% 3] AS stage,
    %(last_midnight)s - make_interval(days => %(days)s) + number * interval '1 day' / %(candidates)s AS event_time,
    'lead' || number || '@example.com' AS email,
    '+1415555' || lpad((number %% 10000)::text, 4, '0') AS phone,
    'Ann' AS first_name,
    'Lee' AS last_name,
    'f' AS gender,
    '1990-01-02' AS date_of_birth,
    'Paris' AS city,
    '75001' AS zip,
    'FR' AS country
FROM generate_series(0, %(candidates)s::bigint * %(days)s - 1) AS number;
CREATE INDEX ON crm.lead_stage_transitions (event_time);
