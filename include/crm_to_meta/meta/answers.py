"""Classify what Meta answered: what its HTTP status, body and headers mean for the events that were sent.

By status, code, subcode and error type, never by a text: texts are localised and change. `RULES` is the whole table.
What else an answer tells, such as the place of a fault, is a hint to whoever searches for it, and decides nothing.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from crm_to_meta.meta.usage import NO_USAGE, Usage, read_usage

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

SUBCODE_LEAD_UNKNOWN: Final = 2804036  # "lead id invalid or deleted"
SUBCODE_TOO_OLD: Final = 2804003  # "event too old"
_LARGEST_NUMBER: Final = 2**31 - 1  # what an integer column of capi.request holds; Meta's numbers are far below
_LONGEST_TRACE_ID: Final = 100
_LONGEST_RETRY_AFTER_S: Final = 999_999.0
_PLACE: Final = re.compile(r"\$\['data'\]\[([0-9]{1,4})\]")  # how Meta names the event at fault, in any language
_END_OF_TOKEN: Final = re.compile(r"\b[0-9]{1,2}-[A-Z][a-z]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} [A-Z]{2,4}\b")
_CODE_TOKEN: Final = 190


class Action(StrEnum):
    """What has to be done about an answer."""

    DELIVERED = "delivered"
    RETRY = "retry"  # nothing was processed: send again, later
    REDUCE = "reduce"  # nothing was processed, perhaps because it was too much: send again, later and in halves
    RATE_LIMIT = "rate_limit"  # nothing was processed: stop calling for a while
    AUTH = "auth"  # token or permission: stop everything, no event is at fault
    CONFIGURATION = "configuration"  # dataset id, app secret or API version: stop everything, no event is at fault
    PAYLOAD = "payload"  # an event is at fault; nothing of the request was processed
    IN_DOUBT = "in_doubt"  # it may have been processed
    UNKNOWN = "unknown"  # nothing this table knows: keep pending and show it


STOPPING: Final = frozenset({Action.AUTH, Action.CONFIGURATION})


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRule:
    """One line of the table: what is None fits anything; the first rule that fits an answer decides."""

    action: Action
    source: str
    codes: Collection[int] | None = None
    subcodes: Collection[int | None] | None = None
    error_type: str | None = None
    has_code: bool | None = None
    statuses: Collection[int] | None = None
    counts_all: bool | None = None

    def fits(self, seen: _Seen) -> bool:
        """Say whether an answer is what the rule is about."""
        return (
            (self.codes is None or seen.code in self.codes)
            and (self.subcodes is None or seen.subcode in self.subcodes)
            and (self.error_type is None or seen.error_type == self.error_type)
            and (self.has_code is None or (seen.code is not None) == self.has_code)
            and (self.statuses is None or seen.http_status in self.statuses)
            and (self.counts_all is None or seen.counts_all == self.counts_all)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What of an answer decides."""

    http_status: int
    code: int | None
    subcode: int | None
    error_type: str | None
    counts_all: bool  # no error, and exactly as many events received as were sent


_OK: Final = frozenset({200})
_ERRORS: Final = '"Handle Errors"'
_LIMITS: Final = '"Rate Limits"'

# Codes outrank the status: 190 was seen under 500, rate limits under 400, 403, 429 and 500. Titles in quotes are pages
# of Meta's documentation; "seen" is an answer that somebody got and recorded in public.
RULES: Final = (
    AnswerRule(
        action=Action.CONFIGURATION, codes={100}, subcodes={33, 34}, source="seen: dataset unknown or out of reach"
    ),
    AnswerRule(
        action=Action.CONFIGURATION,
        codes={100},
        subcodes={None},
        error_type="GraphMethodException",
        source="seen: appsecret_proof wrong or missing (facebook-python-business-sdk issue 528)",
    ),
    AnswerRule(action=Action.CONFIGURATION, codes={2635}, source='"Error Reference": API version no longer served'),
    AnswerRule(action=Action.AUTH, codes={190}, source=f"{_ERRORS}: token expired, revoked or invalid"),
    AnswerRule(action=Action.AUTH, codes={102, 104}, source=f"{_ERRORS}: session or signature not valid"),
    AnswerRule(action=Action.AUTH, codes={3, 10, 294}, source=f"{_ERRORS}: the app may not do this"),
    AnswerRule(action=Action.RATE_LIMIT, codes={4, 17, 32, 613}, source=f"{_LIMITS}: app, user, page, custom limit"),
    AnswerRule(action=Action.RATE_LIMIT, codes={341, 368}, source=f"{_ERRORS}: application limit; blocked for a while"),
    AnswerRule(
        action=Action.RATE_LIMIT, codes={*range(80000, 80010), 80014}, source=f"{_LIMITS}: business use case limits"
    ),
    AnswerRule(action=Action.AUTH, codes=range(200, 300), source=f"{_ERRORS}: permission not granted or removed"),
    AnswerRule(action=Action.REDUCE, codes={1}, source="seen under 500: asks for less data, then a retry"),
    AnswerRule(action=Action.RETRY, codes={2, 21009}, source=f"{_ERRORS}; seen: healed with is_transient false"),
    AnswerRule(action=Action.PAYLOAD, codes={100}, source='"Error Reference": invalid parameter; 2804xxx say which'),
    AnswerRule(action=Action.RATE_LIMIT, statuses={429}, source="RFC 6585: too many requests"),
    AnswerRule(
        action=Action.AUTH, error_type="OAuthException", has_code=False, source=f"{_ERRORS}: login status unknown"
    ),
    AnswerRule(action=Action.DELIVERED, statuses=_OK, counts_all=True, source='"Using the API"'),
    AnswerRule(
        action=Action.UNKNOWN, statuses=range(300, 500), source="RFC 9110: not followed, or refused unprocessed"
    ),
    AnswerRule(
        action=Action.IN_DOUBT, source="anything else may come after the work: 5xx, 200 without the exact count"
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A classified answer; holds ids, numbers and a date, no sentence of Meta's."""

    action: Action
    http_status: int | None = None
    code: int | None = None
    subcode: int | None = None
    fbtrace_id: str | None = None
    events_received: int | None = None
    retry_after_s: float | None = None
    usage: Usage = NO_USAGE
    place: int | None = None  # where in the request Meta says the fault is, counted from 0
    token_ended: str | None = None  # when the token expired, as Meta writes it
    cause: str = ""  # of a request without an answer: what went wrong, with the host's name
    duration_ms: int = 0

    @property
    def name(self) -> str:
        """Return a short machine-readable name such as `auth_190_463`."""
        numbers = [self.code, self.subcode] if self.code is not None else [self.http_status]
        return "_".join([self.action, *(str(number) for number in numbers if number is not None)])

    @property
    def words(self) -> str:
        """Return what a message says of the answer: its name, or why there was none."""
        return self.cause or self.name


def classify(
    http_status: int, body: bytes, *, events: int, headers: Mapping[str, str] | None = None, duration_ms: int = 0
) -> Answer:
    """Return what an HTTP answer means.

    Args:
        http_status: the answer's status.
        body: its bytes; may be JSON, HTML or nothing.
        events: how many events the request held.
        headers: its headers, names in any case.
        duration_ms: how long it took.
    """
    parsed = _parse(body)
    is_error = isinstance(parsed.get("error"), dict)
    error: dict[str, Any] = parsed["error"] if is_error else {}
    received = None if is_error else _number(parsed.get("events_received"))
    code, subcode, error_type = _number(error.get("code")), _number(error.get("error_subcode")), error.get("type")
    seen = _Seen(
        http_status=http_status,
        code=code,
        subcode=subcode,
        error_type=error_type if isinstance(error_type, str) else None,
        counts_all=received == events,
    )
    named = {name.lower(): value for name, value in (headers or {}).items()}
    return Answer(
        action=next(rule.action for rule in RULES if rule.fits(seen)),
        http_status=http_status,
        code=code,
        subcode=subcode,
        fbtrace_id=_text((error if is_error else parsed).get("fbtrace_id")),
        events_received=received,
        retry_after_s=_retry_after_s(named),
        usage=read_usage(named),
        place=_find_place(error, events),
        token_ended=_find_end_of_token(error) if code == _CODE_TOKEN else None,
        duration_ms=duration_ms,
    )


def _find_place(error: Mapping[str, Any], events: int) -> int | None:
    """Return the event that Meta names, where it names exactly one of those that were sent."""
    texts = [error.get(name) for name in ("message", "error_user_msg", "error_user_title", "error_data")]
    written = "\n".join(text if isinstance(text, str) else json.dumps(text, default=str) for text in texts if text)
    places = {int(index) for index in _PLACE.findall(written)}
    return places.pop() if len(places) == 1 and max(places) < events else None


def _find_end_of_token(error: Mapping[str, Any]) -> str | None:
    """Return when the token ended: the first of the two dates in Meta's message, the other one is now."""
    found = _END_OF_TOKEN.search(str(error.get("message", "")))
    return found.group() if found else None


def _parse(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _number(value: object) -> int | None:
    """Return a number that fits its column; anything else is no number of Meta's."""
    if isinstance(value, str) and re.fullmatch("[0-9]{1,10}", value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if abs(value) <= _LARGEST_NUMBER else None


def _text(value: object) -> str | None:
    """Return an id; not what a text column would refuse, such as NUL."""
    return value[:_LONGEST_TRACE_ID] if isinstance(value, str) and value.isascii() and value.isprintable() else None


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait. RFC 9110 allows seconds, or a date, which is compared with that of the answer."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch("[0-9]{1,6}", value):  # more than 11 days is no pause
        return float(value)
    until = _read_http_date(value)
    if until is None:
        return None
    sent = _read_http_date(headers.get("date", "")) or datetime.now(UTC)
    return min(max((until - sent).total_seconds(), 0.0), _LONGEST_RETRY_AFTER_S)


def _read_http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
