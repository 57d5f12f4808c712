-- What a person may decide about: of runs that ended, by run.
SELECT known.run_key, count(*), min(known.event_time), min(known.doubted_at), max(known.doubted_at)
FROM capi.delivery AS known
INNER JOIN capi.run AS run ON run.run_key = known.run_key AND run.state <> 'running'
WHERE known.pipeline = %(pipeline)s AND known.status = 'in_doubt' AND known.erased_at IS NULL
GROUP BY known.run_key
ORDER BY max(known.doubted_at), known.run_key
