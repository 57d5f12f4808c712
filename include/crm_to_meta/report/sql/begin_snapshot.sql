-- All figures of a page are of one moment, also while the run goes on.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY
