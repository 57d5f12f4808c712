"""What a test can have go wrong: a plan of faults.

PUT `/_stand_in/faults` with a JSON list of these models, GET to read, DELETE to clear.

    [{"kind": "status", "status": 503, "when": {"nth": 2}},
     {"kind": "answer", "status": 400, "json": {"error": {"code": 17}}, "when": {"times": 3}},
     {"kind": "reset_after", "when": {"event_id": "abc"}},
     {"kind": "slow", "seconds": 0.5, "process": "first", "when": {"probability": 0.1, "seed": 7}}]

For each request the first fault in the list whose `when` holds is the one that happens. Requests are counted from 1
since the plan was set. All conditions of a `when` must hold; an empty one always does.
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
    """The requests to which a fault happens."""

    model_config = ConfigDict(extra="forbid")

    nth: int | None = Field(default=None, ge=1, description="only the n-th request")
    from_request: int | None = Field(default=None, ge=1, description="the n-th request and later ones")
    to_request: int | None = Field(default=None, ge=1, description="the n-th request and earlier ones")
    probability: float | None = Field(default=None, ge=0, le=1, description="drawn for each request from the seed")
    seed: int = 0
    times: int | None = Field(default=None, ge=0, description="at most so many times")
    event_id: str | None = Field(default=None, description="only if this event is in the request")
    lead_id: int | None = Field(default=None, description="only if an event of this lead is in the request")
    more_than_events: int | None = Field(
        default=None, ge=0, description="only if the request has more events than this"
    )


class _Fault(BaseModel):
    """A fault that changes nothing but what its kind says: events go in, and the answer is Meta's own."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    when: When = When()

    def lets_in(self) -> bool:
        """Whether the request is checked and its events go in."""
        return True

    def count_kept(self, events: int) -> int:
        """How many of a sound request's events go in, the first ones."""
        return events

    def distort(self, honest: Answer, sent: int) -> Answer:
        """What the client gets instead of the honest answer to a request with so many events."""
        return honest


class StatusFault(_Fault):
    """Any status with a plain text or an empty body; `processed` says whether the events went in all the same."""

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
    """Any status with any JSON, such as an answer that Meta was seen to give."""

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
    """The page of a proxy in front of the API."""

    kind: Literal["html"]
    status: HttpStatus = 502
    processed: bool = False

    def lets_in(self) -> bool:
        return self.processed

    def distort(self, honest: Answer, sent: int) -> Answer:
        return Answer(self.status, HTML_ERROR.encode(), media_type="text/html")


class ResetBeforeFault(_Fault):
    """Connection reset, nothing processed."""

    kind: Literal["reset_before"]

    def lets_in(self) -> bool:
        return False

    def distort(self, honest: Answer, sent: int) -> Answer:
        return replace(honest, ending="reset")


class ResetAfterFault(_Fault):
    """Processed, then connection reset: the client cannot know."""

    kind: Literal["reset_after"]

    def distort(self, honest: Answer, sent: int) -> Answer:
        return replace(honest, ending="reset")


class SlowFault(_Fault):
    """Time passes before the answer.

    `process`: the events go in first, after the delay, or never; then the connection is reset instead of an answer.
    """

    kind: Literal["slow"]
    seconds: float = Field(gt=0, le=300)
    process: Literal["first", "after", "never"] = "first"

    def lets_in(self) -> bool:
        return self.process != "never"

    def distort(self, honest: Answer, sent: int) -> Answer:
        return replace(honest, ending="reset") if self.process == "never" else honest


class TruncatedFault(_Fault):
    """Processed; half a JSON body, whole by its Content-Length, or broken off on the way with `cut_connection`."""

    kind: Literal["truncated"]
    cut_connection: bool = False

    def distort(self, honest: Answer, sent: int) -> Answer:
        if self.cut_connection:
            return replace(honest, ending="cut")
        return replace(honest, body=honest.body[: len(honest.body) // 2])


class FewerReceivedFault(_Fault):
    """A 200 that counts fewer events than were sent. `processed`: only those counted, or all in spite of the number."""

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
    """The faults in force, and how often each has happened."""

    faults: Sequence[Fault] = ()
    requests_seen: int = 0
    fired: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.fired = [0] * len(self.faults)

    def pick(self, events: Sequence[object]) -> Fault | None:
        """The fault for the next request, counted as fired."""
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
    """Whether all conditions but `times` hold."""
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
    """A number from 0 to 1, the same for the same seed and request whatever else happens."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{nth_request}".encode()).digest()[:8]) / 2**64


def read_member(event: object, key: str) -> object:
    return event.get(key) if isinstance(event, dict) else None


def read_lead_id(event: object) -> object:
    return read_member(read_member(event, "user_data"), "lead_id")
