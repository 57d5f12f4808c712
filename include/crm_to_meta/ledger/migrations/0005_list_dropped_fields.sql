ALTER TABLE capi.chunk ADD COLUMN dropped jsonb NOT NULL DEFAULT '{}';
COMMENT ON COLUMN capi.chunk.dropped IS 'By field and reason: events of the body (counted from 0) that go without the field';
