-- Whether anything (table, view, foreign table) has the name, and the comment on it.
SELECT
    to_regclass('crm.lead_stage_transitions')::text AS found_table,
    obj_description(to_regclass('crm.lead_stage_transitions'), 'pg_class') AS found_comment
