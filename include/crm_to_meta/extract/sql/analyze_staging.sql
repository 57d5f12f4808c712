-- Of columns without personal values alone: statistics are samples of values, and they are written to the log.
ANALYZE {staging} (row_no, event_id, occurrence, event_name, event_time, has_event_time, opted_out, has_identifier)
