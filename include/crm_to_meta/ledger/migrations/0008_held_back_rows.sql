-- The tables of rows that are held back are called by what they hold, those of runs at work too.
ALTER TABLE capi.verdict RENAME TO held_back;
COMMENT ON TABLE capi.held_back IS 'Internal, always empty: the shape of a run''s own table of rows that are held back from sending';

DO $$
DECLARE
    former name;
BEGIN
    FOR former IN SELECT tablename FROM pg_tables WHERE schemaname = 'capi' AND tablename ~ '^verdict_[0-9a-f]{16}$' LOOP
        EXECUTE format('ALTER TABLE capi.%I RENAME TO %I', former, replace(former, 'verdict_', 'held_back_'));
    END LOOP;
END
$$;
