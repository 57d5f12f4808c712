"""The faults that a test can plan.

PUT `/_stand_in/faults` with a JSON list of these models, GET to read, DELETE to clear.

    [{"kind": "status", "status": 503, "when": {"nth": 2}},
     {"kind": "answer", "status": 400, "json": {"error": {"code": 17}}, "when": {"times": 3}},
     {"kind": "reset_after", "when": {"event_id": "abc"}},
     {"kind": "slow", "seconds": 0.5, "process": "first", "when": {"probability": 0.1, "seed": 7}}]

For each request, the first fault in the list whose `when` holds happens. Requests are counted from 1 since the plan was
set. All conditions of a `when` must hold; an empty `when` always holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from crm_to_meta_demo.meta_stand_in.answers import Answer, json_answer, success

HTML_ERROR: Final = (
    "<!DOCTYPE html><html><head><title>Error</title></head><body><h1>Something went wrong</h1></body></html>"
)
HttpStatus = Annotated[int, Field(ge=200, le=599)]


class When(BaseModel):
    """The requests in which a fault happens."""

    model_config = ConfigDict(extra="forbid")

    nth: int | None = Field(default=None, ge=1, description="only the n-th request")
    from_request: int | None = Field(default=None, ge=1, description="the n-th request and later ones")
    to_request: int | None = Field(default=None, ge=1, description="the n-th request and earlier ones")
    probability: float | None = Field(default=None, ge=0, le=1, description="drawn for each request from the seed")
    seed: int = 0
    times: int | None = Field(default=None, ge=0, description="at most this many times")
    event_id: str | None = Field(default=None, description="only if this event is in the request")
    lead_id: int | None = Field(default=None, description="only if an event of this lead is in the request")
    more_than_events: int | None = Field(
        default=None, ge=0, description="only if the request has more events than this"
    )


class _Fault(BaseModel):
    """The base of all faults: events are processed and answered as without a fault."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    when: When = When()

    def lets_in(self) -> bool:
        """Say whether the request is checked and its events are processed."""
        return True

    def count_kept(self, events: int) -> int:
        """Return how many of a valid request's events are processed, counted from the first."""
        return events

    def distort(self, honest: Answer, sent: int) -> Answer:
        """Return what the client gets instead of the honest answer. `sent` is the number of events in the request."""
        return honest


class StatusFault(_Fault):
    """Any status with a plain text or an empty body. With `processed`, the events are processed nevertheless."""

    kind: Literal["status"]
    status: HttpStatus = 503
    body: str = ""
    headers: dict[str, str] = {}
    processed: bool = False

    def lets_in(self) -> bool:
        return self.processed

    def distort(self, honest: Answer, sent: int) -> Answer:
        return Answer(self.status, self.body.encode(), media_type="text/plain", headers=self.headers)


class AnswerFault(_Fault):
    """Any status with any JSON, such as a recorded answer of Meta."""

    kind: Literal["answer"]
    status: HttpStatus = 400
    answer: dict[str, object] = Field(alias="json")
    headers: dict[str, str] = {}
    processed: bool = False

    def lets_in(self) -> bool:
        return self.processed

    def distort(self, honest: Answer, sent: int) -> Answer:
        return json_answer(self.status, self.answer, headers=self.headers)


class HtmlFault(_Fault):
    """The HTML page of a proxy in front of the API."""

    kind: Literal["html"]
    status: HttpStatus = 502
    processed: bool = False

    def lets_in(self) -> bool:
        return self.processed

    def distort(self, honest: Answer, sent: int) -> Answer:
        return Answer(self.status, HTML_ERROR.encode(), media_type="text/html")


class ResetBeforeFault(_Fault):
    """The connection is reset; nothing is processed."""

    kind: Literal["reset_before"]

    def lets_in(self) -> bool:
        return False

    def distort(self, honest: Answer, sent: int) -> Answer:
        return replace(honest, ending="reset")


class ResetAfterFault(_Fault):
    """The events are processed, then the connection is reset. The client cannot tell."""

    kind: Literal["reset_after"]

    def distort(self, honest: Answer, sent: int) -> Answer:
        return replace(honest, ending="reset")


class SlowFault(_Fault):
    """The answer comes late.

    `process`: the events are processed before the delay, after it, or never. With `never`, the connection is reset
    instead of an answer.
    """

    kind: Literal["slow"]
    seconds: float = Field(gt=0, le=300)
    process: Literal["first", "after", "never"] = "first"

    def lets_in(self) -> bool:
        return self.process != "never"

    def distort(self, honest: Answer, sent: int) -> Answer:
        return replace(honest, ending="reset") if self.process == "never" else honest


class TruncatedFault(_Fault):
    """The events are processed, but only half of the JSON body comes back.

    The Content-Length is that of the half, or with `cut_connection` that of the whole body.
    """

    kind: Literal["truncated"]
    cut_connection: bool = False

    def distort(self, honest: Answer, sent: int) -> Answer:
        if self.cut_connection:
            return replace(honest, ending="cut")
        return replace(honest, body=honest.body[: len(honest.body) // 2])


class FewerReceivedFault(_Fault):
    """A 200 that counts fewer events than were sent. `processed`: only the counted events, or all of them."""

    kind: Literal["fewer_received"]
    missing: int = Field(default=1, ge=1)
    processed: Literal["counted", "all"] = "counted"

    def count_kept(self, events: int) -> int:
        return max(0, events - self.missing) if self.processed == "counted" else events

    def distort(self, honest: Answer, sent: int) -> Answer:
        return success(max(0, sent - self.missing)) if honest.status == 200 else honest


Fault = Annotated[
    StatusFault
    | AnswerFault
    | HtmlFault
    | ResetBeforeFault
    | ResetAfterFault
    | SlowFault
    | TruncatedFault
    | FewerReceivedFault,
    Field(discriminator="kind"),
]


@dataclass(slots=True)
class FaultPlan:
    """The planned faults, and how often each has happened."""

    faults: Sequence[Fault] = ()
    requests_seen: int = 0
    fired: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.fired = [0] * len(self.faults)

    def pick(self, events: Sequence[object]) -> Fault | None:
        """Return the fault for the next request, and count it as fired."""
        self.requests_seen += 1
        for place, fault in enumerate(self.faults):
            times = fault.when.times
            if (times is None or self.fired[place] < times) and is_due(fault.when, self.requests_seen, events):
                self.fired[place] += 1
                return fault
        return None

    def describe(self) -> list[dict[str, object]]:
        dumps = (fault.model_dump(by_alias=True, exclude_defaults=True) for fault in self.faults)
        return [{"fault": dump, "fired": fired} for dump, fired in zip(dumps, self.fired, strict=True)]


def is_due(when: When, nth_request: int, events: Sequence[object]) -> bool:
    """Say whether all conditions except `times` hold."""
    return (
        when.nth in (None, nth_request)
        and (when.from_request or 1) <= nth_request
        and (when.to_request is None or nth_request <= when.to_request)
        and (when.more_than_events is None or len(events) > when.more_than_events)
        and (when.event_id is None or any(read_member(event, "event_id") == when.event_id for event in events))
        and (when.lead_id is None or any(read_lead_id(event) == when.lead_id for event in events))
        and (when.probability is None or draw_share(when.seed, nth_request) < when.probability)
    )


def draw_share(seed: int, nth_request: int) -> float:
    """Return a number from 0 to 1 that depends on the seed and the request's number alone."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{nth_request}".encode()).digest()[:8]) / 2**64


def read_member(event: object, key: str) -> object:
    return event.get(key) if isinstance(event, dict) else None


def read_lead_id(event: object) -> object:
    return read_member(read_member(event, "user_data"), "lead_id")
