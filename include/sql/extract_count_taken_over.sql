-- What this run is about to claim leaves the counts of the run that had it: that run's audit, repeated, still adds up.
UPDATE capi.run AS former SET taken_over = taken_over + taken.rows
FROM (
    SELECT known.run_key, count(*) AS rows
    FROM {staging} AS staged
    INNER JOIN capi.delivery AS known USING (event_id)
    GROUP BY known.run_key
) AS taken
WHERE former.run_key = taken.run_key
