-- Like with like: how many rows the scheduled live runs of this pipeline staged that looked back and succeeded. A run
-- that was cleared counts once, by its biggest pass: the later ones find what the first has left over.
SELECT past.window_end, max(past.staged)
FROM capi.run AS past
INNER JOIN capi.run AS run USING (pipeline)
WHERE run.run_key = %(run_key)s
    AND past.mode = 'live'
    AND past.run_type = 'scheduled'
    AND past.is_sweep
    AND past.state = 'succeeded'
    AND past.window_end < run.window_end
    AND past.window_end >= run.window_end - %(reach)s
GROUP BY past.window_end
ORDER BY past.window_end DESC
