-- Thousands of rows got this run's key a moment ago; without statistics the planner takes it for rare.
ANALYZE capi.delivery (run_key, status, pipeline)
