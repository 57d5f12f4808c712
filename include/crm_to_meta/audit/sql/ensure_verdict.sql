-- An audit that is repeated finds the run's verdicts gone; its chunks and its figures are still there.
CREATE UNLOGGED TABLE IF NOT EXISTS {verdict} (LIKE capi.verdict)
