SELECT run_key FROM capi.run WHERE state = 'running' ORDER BY run_key
