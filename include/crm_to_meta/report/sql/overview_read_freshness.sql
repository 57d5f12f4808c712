-- When the newest event happened that Meta has, and when a live run last succeeded. Chunks are in the order of event
-- times, so the newest delivered event is in the last chunk that delivered some.
SELECT
    (
        SELECT max(known.event_time)
        FROM (
            SELECT run_key
            FROM capi.run
            WHERE pipeline = %(pipeline)s AND mode = 'live' AND delivered > 0
            ORDER BY window_end DESC, started_at DESC
            LIMIT 1
        ) AS run
        CROSS JOIN LATERAL (
            SELECT chunk.event_ids
            FROM capi.request
            INNER JOIN capi.chunk ON chunk.run_key = request.run_key AND chunk.chunk_no = request.chunk_no
            WHERE request.run_key = run.run_key AND request.outcome = 'delivered'
            ORDER BY request.chunk_no DESC
            LIMIT 1
        ) AS newest
        INNER JOIN capi.delivery AS known ON known.event_id = ANY(newest.event_ids) AND known.status = 'delivered'
    ) AS newest_event_at,
    (
        SELECT max(finished_at)
        FROM capi.run
        WHERE pipeline = %(pipeline)s AND mode = 'live' AND state = 'succeeded'
    ) AS last_success_at
