-- Bodies with an event of the lead go as a whole. Test and preview runs have no ledger to tell which: all of theirs go.
UPDATE capi.chunk SET body = NULL
FROM capi.run AS run
WHERE chunk.body IS NOT NULL
    AND run.run_key = chunk.run_key
    AND (run.mode <> 'live' OR chunk.event_ids && %(event_ids)s::uuid[])
