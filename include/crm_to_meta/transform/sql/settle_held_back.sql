UPDATE capi.delivery AS known SET
    status = held_back.status,
    reason = held_back.reason,
    updated_at = clock_timestamp()
FROM {held_back} AS held_back
WHERE held_back.row_no BETWEEN %(first_row)s AND %(last_row)s
    AND known.event_id = held_back.event_id
    AND known.run_key = %(run_key)s
    AND known.status = 'pending'
