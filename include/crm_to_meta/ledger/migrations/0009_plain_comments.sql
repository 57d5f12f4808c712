-- Comments in plainer English; docs/tables.md is made from them (`make docs`).
COMMENT ON TABLE capi.migration IS 'Internal: the migrations that were applied to this schema';

COMMENT ON TABLE capi.run IS 'One row per pass of a DAG run: its window, how many rows ended in which status, how it ended';
COMMENT ON COLUMN capi.run.run_key IS 'Key of the run: last day of the window, digest of DAG run and window, number of the pass';
COMMENT ON COLUMN capi.run.pipeline IS 'Name of the pipeline file, without its ending';
COMMENT ON COLUMN capi.run.mode IS 'live sends events; test sends a few with a test event code; preview sends nothing';
COMMENT ON COLUMN capi.run.dag_run_id IS 'Id of the DAG run in Airflow';
COMMENT ON COLUMN capi.run.run_type IS 'Type of the DAG run in Airflow: scheduled, manual, backfill or asset_triggered';
COMMENT ON COLUMN capi.run.window_start IS 'Start of the window: the earliest event time that belongs to the run';
COMMENT ON COLUMN capi.run.window_end IS 'End of the window; an event at exactly this time belongs to the next window';
COMMENT ON COLUMN capi.run.is_sweep IS 'true: the window reaches back over the whole lookback; false: it is exactly one interval';
COMMENT ON COLUMN capi.run.configuration_digest IS 'Digest of the pipeline file''s settings in this run';
COMMENT ON COLUMN capi.run.state IS 'running; succeeded or failed, as audit found; abandoned: the worker died and another run took over';
COMMENT ON COLUMN capi.run.lease_until IS 'Until then no other run takes over the transitions of this one while it is running';
COMMENT ON COLUMN capi.run.stop_reason IS 'Why sending stopped for the whole run, such as auth_190';
COMMENT ON COLUMN capi.run.quality_verdict IS 'The worst result of the run''s rules in capi.quality; NULL before validate';
COMMENT ON COLUMN capi.run.extracted IS 'Rows that belong to the run; the sum of the seven counts that follow';
COMMENT ON COLUMN capi.run.delivered IS 'Rows whose events Meta accepted';
COMMENT ON COLUMN capi.run.rejected IS 'Rows whose events Meta refused one by one';
COMMENT ON COLUMN capi.run.in_doubt IS 'Rows that were sent with an unknown outcome';
COMMENT ON COLUMN capi.run.quarantined IS 'Rows that were held back because they break a rule';
COMMENT ON COLUMN capi.run.expired IS 'Rows that are too old for Meta';
COMMENT ON COLUMN capi.run.skipped IS 'Rows that were left out on purpose, such as those of leads that opted out';
COMMENT ON COLUMN capi.run.pending IS 'Rows that are still to be sent';
COMMENT ON COLUMN capi.run.staged IS 'Rows copied from the source; the other extracted rows were expired in the ledger alone';
COMMENT ON COLUMN capi.run.held IS 'Transitions of the window that another run was working on; they are not in extracted';
COMMENT ON COLUMN capi.run.taken_over IS
    'Rows that a later run took over and counts; then extracted is the sum of the seven counts and these';
COMMENT ON COLUMN capi.run.requests IS 'HTTP requests to Meta, retries included';
COMMENT ON COLUMN capi.run.timings IS 'Seconds of work in each step; mapped tasks are added up';
COMMENT ON COLUMN capi.run.figures IS 'Counts by CRM stage and status, by reason and by field; no values';
COMMENT ON COLUMN capi.run.started_at IS 'When extract created the row';
COMMENT ON COLUMN capi.run.finished_at IS 'When audit closed the run, or another run took it over';
COMMENT ON COLUMN capi.run.paused_until IS 'Until then no run of the pipeline sends, because Meta asked for a long pause';

COMMENT ON TABLE capi.delivery IS 'The ledger: one row per transition (stage change) that a live run has seen, with its status';
COMMENT ON COLUMN capi.delivery.event_id IS 'The event_id sent to Meta; depends on pipeline and transition_id alone';
COMMENT ON COLUMN capi.delivery.pipeline IS 'Name of the pipeline file, without its ending';
COMMENT ON COLUMN capi.delivery.transition_id IS 'Id of the stage change in the CRM';
COMMENT ON COLUMN capi.delivery.lead_id IS 'Meta''s lead id if it has 15 to 17 digits, the first not 0, else NULL';
COMMENT ON COLUMN capi.delivery.stage IS 'Stage in the CRM, cut off after 100 characters';
COMMENT ON COLUMN capi.delivery.event_name IS 'The event name sent to Meta: what the pipeline file calls the stage';
COMMENT ON COLUMN capi.delivery.event_time IS 'When the lead moved to the stage; NULL if the source has no readable time';
COMMENT ON COLUMN capi.delivery.reason IS 'Why it has this status, see docs/tables.md; meta_<n> is Meta''s error code or subcode';
COMMENT ON COLUMN capi.delivery.run_key IS 'The run that is working on it, or was the last to do so';
COMMENT ON COLUMN capi.delivery.chunk_no IS 'The chunk (request body) of that run that contains it';
COMMENT ON COLUMN capi.delivery.fbtrace_id IS 'Trace id of Meta''s last answer; Meta''s support asks for it';
COMMENT ON COLUMN capi.delivery.doubts IS 'How often it was sent with an unknown outcome; if not 0, Meta may have it twice';
COMMENT ON COLUMN capi.delivery.doubted_at IS 'When it was last sent with an unknown outcome';
COMMENT ON COLUMN capi.delivery.source_digest IS 'Digest of the row and the settings; if it changes, the row is judged again';
COMMENT ON COLUMN capi.delivery.first_seen_at IS 'When a run first extracted it';
COMMENT ON COLUMN capi.delivery.updated_at IS 'When its status was last written';
COMMENT ON COLUMN capi.delivery.erased_at IS
    'When the person was erased from the row; the rest is kept for the counts and is never sent again';

COMMENT ON TABLE capi.request IS 'One row per HTTP request to Meta, written before the request is sent';
COMMENT ON COLUMN capi.request.request_id IS 'Number of the request, in the order of sending';
COMMENT ON COLUMN capi.request.run_key IS 'The run that sent it';
COMMENT ON COLUMN capi.request.chunk_no IS 'The chunk whose events it contained';
COMMENT ON COLUMN capi.request.part_start IS 'Position of its first event in the chunk, counted from 0';
COMMENT ON COLUMN capi.request.part_end IS 'Position after its last event in the chunk';
COMMENT ON COLUMN capi.request.without_lead_id IS 'true: the second try of an event whose lead id Meta does not know';
COMMENT ON COLUMN capi.request.attempt IS '1 for the first try of this part within a task';
COMMENT ON COLUMN capi.request.events IS 'How many events it contained';
COMMENT ON COLUMN capi.request.sent_at IS 'When the row was written, just before sending';
COMMENT ON COLUMN capi.request.duration_ms IS 'Milliseconds until the answer';
COMMENT ON COLUMN capi.request.http_status IS 'HTTP status; NULL if no answer came';
COMMENT ON COLUMN capi.request.fbtrace_id IS 'Trace id of Meta''s answer; Meta''s support asks for it';
COMMENT ON COLUMN capi.request.outcome IS
    'sending: no answer yet, or the worker died; in_doubt: outcome unknown; refused_alone: a single event, not confirmed yet';
COMMENT ON COLUMN capi.request.events_received IS 'How many events Meta says it received';

COMMENT ON TABLE capi.quality IS 'One row per rule and run: how many rows were checked and how many failed; no values';
COMMENT ON COLUMN capi.quality.run_key IS 'The run whose rows were checked';
COMMENT ON COLUMN capi.quality.position IS 'Order of the rules; a row gets the reason of the first rule that it breaks';
COMMENT ON COLUMN capi.quality.expectation IS 'Type of the expectation in Great Expectations';
COMMENT ON COLUMN capi.quality.column_name IS 'The field that the rule is about; NULL for rules about the batch';
COMMENT ON COLUMN capi.quality.reason IS 'The reason that failing rows get, or for a rule about the batch its name';
COMMENT ON COLUMN capi.quality.severity IS 'critical stops the run; warning and info do not';
COMMENT ON COLUMN capi.quality.checked IS 'Rows that the rule was applied to; 0 if it was not judged';
COMMENT ON COLUMN capi.quality.failed IS 'Rows that break the rule';
COMMENT ON COLUMN capi.quality.success IS 'Whether the rule holds';
COMMENT ON COLUMN capi.quality.observed IS 'For a rule about the batch: the share or number found, or why it was not judged';

COMMENT ON TABLE capi.quality_result IS 'One row per run: the whole result of Great Expectations; no values';
COMMENT ON COLUMN capi.quality_result.run_key IS 'The run whose rows were checked';
COMMENT ON COLUMN capi.quality_result.result IS 'Result as Great Expectations writes it: expectations, counts and shares';

COMMENT ON TABLE capi.erasure IS
    'One row per request to erase a person: insert a lead_id, and the DAG crm_to_meta_erase carries it out at night';
COMMENT ON COLUMN capi.erasure.erasure_id IS 'Number of the request';
COMMENT ON COLUMN capi.erasure.lead_id IS 'Meta''s id of the lead to erase; becomes NULL once that is done';
COMMENT ON COLUMN capi.erasure.requested_at IS 'When the erasure was requested';
COMMENT ON COLUMN capi.erasure.done_at IS 'When it was carried out';
COMMENT ON COLUMN capi.erasure.transitions IS 'How many ledger rows lost what pointed to the person';
COMMENT ON COLUMN capi.erasure.bodies IS 'How many stored request bodies were deleted';
