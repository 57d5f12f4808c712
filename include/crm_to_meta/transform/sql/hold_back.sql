INSERT INTO {held_back} (row_no, event_id, stage, status, reason)
SELECT row_no, event_id, left(stage, 100), %(status)s, %(reason)s
FROM {staging}
WHERE row_no = ANY(%(row_numbers)s)
