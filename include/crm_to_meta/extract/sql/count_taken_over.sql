-- What this run is about to claim leaves the counts of the run that had it: that run's audit, repeated, still adds up.
UPDATE capi.run AS former SET taken_over = taken_over + taken.rows
FROM (
    SELECT former_run_key, count(*) AS rows FROM {staging} WHERE former_run_key IS NOT NULL GROUP BY former_run_key
) AS taken
WHERE former.run_key = taken.former_run_key
