-- The latest transition ids behind each reason, how many there are in all, and how many rows (some have no id).
SELECT listed.reason, listed.transition_id, listed.with_id, listed.rows
FROM (
    SELECT reason, transition_id,
        count(transition_id) OVER (PARTITION BY reason) AS with_id,
        count(*) OVER (PARTITION BY reason) AS rows,
        row_number() OVER (
            PARTITION BY reason
            ORDER BY transition_id IS NULL, event_time DESC NULLS LAST, transition_id
        ) AS place
    FROM capi.delivery
    WHERE run_key = %(run_key)s AND status = ANY(%(statuses)s) AND reason IS NOT NULL
) AS listed
WHERE listed.place <= %(limit)s
ORDER BY listed.reason, listed.place
