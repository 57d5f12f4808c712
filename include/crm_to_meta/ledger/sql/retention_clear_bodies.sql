UPDATE capi.chunk SET body = NULL
FROM capi.run AS run
WHERE chunk.body IS NOT NULL
    AND run.run_key = chunk.run_key
    AND run.pipeline = %(pipeline)s
    AND run.state <> 'running'
    AND run.finished_at < %(oldest)s
