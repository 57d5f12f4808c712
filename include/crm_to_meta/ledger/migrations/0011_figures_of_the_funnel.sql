-- The figures of a run know the stages in the order of the pipeline file, and the leads in each of them.
COMMENT ON COLUMN capi.run.figures IS
    'Counts by CRM stage and status, by reason and by field; the pipeline file''s stages in their order, and leads by stage; no values';
