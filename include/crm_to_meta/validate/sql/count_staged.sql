-- What the run staged beside what is there now.
SELECT run.staged, (SELECT count(*) FROM {staging})
FROM capi.run AS run
WHERE run.run_key = %(run_key)s
