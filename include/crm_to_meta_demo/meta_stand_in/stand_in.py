"""Handle a request from its arrival to its answer, and log it with the events that were accepted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from crm_to_meta_demo.meta_stand_in.answers import Answer, RefusedError, read_error_codes, success
from crm_to_meta_demo.meta_stand_in.checks import Call, check_call, find_token, list_events, read_body
from crm_to_meta_demo.meta_stand_in.connection import Connection
from crm_to_meta_demo.meta_stand_in.event_checks import EventRules
from crm_to_meta_demo.meta_stand_in.faults import Fault, FaultPlan, SlowFault
from crm_to_meta_demo.meta_stand_in.request_log import RequestLog
from crm_to_meta_demo.meta_stand_in.settings import Settings
from crm_to_meta_demo.meta_stand_in.tally import RequestRecord

EVENT_ID_KEY: Final = b'"event_id":'


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A request that has come in and is not checked yet."""

    number: int
    received_at: str
    call: Call
    body: dict[str, object] | None
    fault: Fault | None
    times_forgotten: int  # by the log, when the request came in


class MetaStandIn:
    """The settings, faults and log of a stand-in.

    All requests share one event loop; each is checked and logged without giving up control in between.
    """

    def __init__(self, *, request_log: RequestLog, settings: Settings | None = None) -> None:
        self.request_log = request_log
        self.plan = FaultPlan()
        self._settings_at_start = settings or Settings()
        self.settings = self._settings_at_start
        self._requests_since_settings = 0

    def change_settings(self, changes: Settings) -> None:
        self.settings = self.settings.change(changes)
        self._requests_since_settings = 0

    def restore_settings(self) -> None:
        self.settings = self._settings_at_start
        self._requests_since_settings = 0

    async def receive(self, call: Call, connection: Connection) -> Answer:
        """Return the answer to a request, after the delay of the settings and the fault plan."""
        started = time.monotonic()
        if self.settings.only_counts:
            answer = success(call.raw_body.count(EVENT_ID_KEY))
            await asyncio.sleep(self.settings.latency_ms / 1000 - (time.monotonic() - started))
            return answer
        arrival = self._register(call)
        fault = arrival.fault
        if isinstance(fault, SlowFault) and fault.process != "first":
            await asyncio.sleep(fault.seconds)
        answer = self._settle(arrival)
        delay_s = max(0.0, self.settings.latency_ms / 1000 - (time.monotonic() - started))
        if isinstance(fault, SlowFault) and fault.process == "first":
            delay_s += fault.seconds
        if delay_s:
            await asyncio.sleep(delay_s)
        if connection.is_gone() and not self._is_forgotten(arrival):
            self.request_log.mark_unseen(arrival.number)
        return answer

    def _register(self, call: Call) -> _Arrival:
        body = read_body(call)
        received_at = datetime.fromtimestamp(self.settings.read_clock(), UTC).isoformat(timespec="milliseconds")
        return _Arrival(
            self.request_log.take_number(),
            received_at,
            call,
            body,
            self.plan.pick(list_events(body)),
            self.request_log.times_forgotten,
        )

    def _is_forgotten(self, arrival: _Arrival) -> bool:
        """Say whether the log was emptied since a slow request came in; it must not appear among later requests."""
        return arrival.times_forgotten != self.request_log.times_forgotten

    def _settle(self, arrival: _Arrival) -> Answer:
        """Check, log and answer a request."""
        fault, sent = arrival.fault, len(list_events(arrival.body))
        honest, kept = self._process(arrival) if fault is None or fault.lets_in() else (Answer(200), [])
        answer = honest if fault is None else fault.distort(honest, sent)
        # A client that gets no answer or another one cannot know that its events were processed.
        is_unseen = bool(kept) and (answer.ending != "complete" or answer.body != honest.body)
        if not self._is_forgotten(arrival):
            self.request_log.append(self._describe(arrival, answer, kept, is_unseen=is_unseen), kept)
        return self._add_usage(answer)

    def _process(self, arrival: _Arrival) -> tuple[Answer, list[dict[str, object]]]:
        """Return the answer that Meta would give, and the events that are processed."""
        rules = EventRules(
            now_unix_s=int(self.settings.read_clock()),
            deleted_lead_ids=self.settings.deleted_lead_ids,
            poisoned_event_ids=self.settings.poisoned_event_ids,
        )
        try:
            events = check_call(arrival.call, arrival.body, self.settings, rules)
        except RefusedError as refusal:
            return refusal.to_answer(), []
        kept = len(events) if arrival.fault is None else arrival.fault.count_kept(len(events))
        return success(len(events)), events[:kept]

    def _describe(self, arrival: _Arrival, answer: Answer, kept: Sequence[object], *, is_unseen: bool) -> RequestRecord:
        code, subcode = read_error_codes(answer.body)
        test_event_code = (arrival.body or {}).get("test_event_code")
        token = find_token(arrival.call, arrival.body)
        return RequestRecord(
            number=arrival.number,
            received_at=arrival.received_at,
            version=arrival.call.version,
            dataset_id=arrival.call.dataset_id,
            events=len(list_events(arrival.body)),
            test_event_code=test_event_code if isinstance(test_event_code, str) else None,
            token_place=token[1] if token else None,
            status=None if answer.ending == "reset" else answer.status,
            error_code=code,
            error_subcode=subcode,
            processed=len(kept),
            processed_unseen=is_unseen,
            fault=arrival.fault.kind if arrival.fault else None,
        )

    def _add_usage(self, answer: Answer) -> Answer:
        usage = self.settings.usage
        headers = usage.make_headers(self._requests_since_settings) if usage else {}
        self._requests_since_settings += 1
        return replace(answer, headers={**headers, **answer.headers}) if headers else answer
