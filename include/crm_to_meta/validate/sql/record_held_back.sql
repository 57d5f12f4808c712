-- One line per failing row, with the first rule that it breaks; returns the rows per status.
WITH first_failure AS (
    SELECT failing.row_no, min(failing.position) AS position
    FROM ({failing}) AS failing
    GROUP BY failing.row_no
),
recorded AS (
    INSERT INTO {held_back} (row_no, event_id, stage, status, reason)
    SELECT
        staged.row_no,
        staged.event_id,
        left(staged.stage, 100),
        (%(statuses)s::text[])[first_failure.position + 1],
        (%(reasons)s::text[])[first_failure.position + 1]
    FROM first_failure
    INNER JOIN {staging} AS staged USING (row_no)
    RETURNING status
)
SELECT status, count(*) FROM recorded GROUP BY status
