-- A million rows that are held back are joined in memory and not by files; until the end of the transaction.
SELECT set_config('work_mem', '64MB', true)
