"""What an answer of Meta means: HTTP status and body in, one `Action` out.

By code and subcode, never by localised text.

Sources: "Handle Errors", "Rate Limits" and "Error Reference" of Meta's documentation, and recorded answers.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

SUBCODE_LEAD_UNKNOWN: Final = 2804036  # "lead id invalid or deleted"
SUBCODE_TOO_OLD: Final = 2804003  # "event too old"
_CODE_INVALID_PARAMETER: Final = 100
_MISSING_PERMISSIONS: Final = "(#100) Missing permissions"  # has no subcode; `message` is not localised
_LARGEST_NUMBER: Final = 2**31 - 1  # what an integer column of capi.request holds; Meta's numbers are far below
_LONGEST_TRACE_ID: Final = 100


class Action(StrEnum):
    """What has to be done about an answer."""

    DELIVERED = "delivered"
    RETRY = "retry"  # nothing was processed: send again, later
    RATE_LIMIT = "rate_limit"  # nothing was processed: stop calling for a while
    AUTH = "auth"  # token or permission: stop everything, no event is at fault
    CONFIGURATION = "configuration"  # dataset id or API version: stop everything, no event is at fault
    PAYLOAD = "payload"  # an event is at fault; nothing of the request was processed
    IN_DOUBT = "in_doubt"  # it may have been processed
    UNKNOWN = "unknown"  # nothing this table knows: keep pending and show it


@dataclass(frozen=True, slots=True)
class _Rule:
    action: Action
    codes: Collection[int]
    subcodes: Collection[int] | None = None  # None: any, and none

    def fits(self, code: int | None, subcode: int | None) -> bool:
        return code in self.codes and (self.subcodes is None or subcode in self.subcodes)


# The first rule that fits decides. Codes outrank the HTTP status: 190 was seen under 500, rate limits under 400.
_RULES: Final = (
    _Rule(Action.CONFIGURATION, {100}, {33, 34}),  # dataset does not exist or is not visible to this token
    _Rule(Action.CONFIGURATION, {2635}),  # API version no longer served
    _Rule(Action.AUTH, {190, 102, 104, 3, 10, 294}),  # token expired or invalid; permission not granted
    _Rule(Action.RATE_LIMIT, {4, 17, 32, 341, 368, 613, 80014}),
    _Rule(Action.RATE_LIMIT, range(80000, 80010)),  # business use case limits
    _Rule(Action.AUTH, range(200, 300)),  # permission errors
    _Rule(Action.RETRY, {1, 2, 21009}),  # transient, whatever `is_transient` says: 2/1504044 healed with false
    _Rule(Action.PAYLOAD, {_CODE_INVALID_PARAMETER}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A classified answer; holds ids and numbers, no text of Meta's."""

    action: Action
    http_status: int | None = None
    code: int | None = None
    subcode: int | None = None
    fbtrace_id: str | None = None
    events_received: int | None = None
    retry_after_s: float | None = None
    duration_ms: int = 0

    @property
    def name(self) -> str:
        """Return a short machine-readable name such as `auth_190_463`."""
        numbers = [self.code, self.subcode] if self.code is not None else [self.http_status]
        return "_".join([self.action, *(str(number) for number in numbers if number is not None)])


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
    error = parsed.get("error")
    timing = {"http_status": http_status, "duration_ms": duration_ms}
    if isinstance(error, dict):
        code, subcode = _number(error.get("code")), _number(error.get("error_subcode"))
        return Answer(
            action=_action_of_error(http_status, error, code, subcode),
            code=code,
            subcode=subcode,
            fbtrace_id=_text(error.get("fbtrace_id")),
            retry_after_s=_retry_after_s(headers or {}),
            **timing,
        )
    received = _number(parsed.get("events_received"))
    return Answer(
        action=_action_without_error(http_status, received, events),
        fbtrace_id=_text(parsed.get("fbtrace_id")),
        events_received=received,
        retry_after_s=_retry_after_s(headers or {}),
        **timing,
    )


def _action_of_error(http_status: int, error: Mapping[str, Any], code: int | None, subcode: int | None) -> Action:
    if code == _CODE_INVALID_PARAMETER and str(error.get("message", "")).startswith(_MISSING_PERMISSIONS):
        return Action.CONFIGURATION
    for rule in _RULES:
        if rule.fits(code, subcode):
            return rule.action
    if http_status == 429:  # noqa: PLR2004 - Too Many Requests
        return Action.RATE_LIMIT
    if code is None and error.get("type") == "OAuthException":
        return Action.AUTH
    return _action_of_status(http_status)


def _action_without_error(http_status: int, received: int | None, events: int) -> Action:
    """Judge an answer that is no Graph error: success, or something between us and Meta."""
    if http_status == 200:  # noqa: PLR2004 - OK
        return Action.DELIVERED if received == events else Action.IN_DOUBT
    if http_status == 429:  # noqa: PLR2004 - Too Many Requests
        return Action.RATE_LIMIT
    return _action_of_status(http_status)


def _action_of_status(http_status: int) -> Action:
    """Judge an answer by its status alone: no Graph error, or one with an unlisted code, as a gateway may write it."""
    if 300 <= http_status < 500:  # noqa: PLR2004 - redirects are not followed; 4xx is refused before it is processed
        return Action.UNKNOWN
    return Action.IN_DOUBT


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
    value = {name.lower(): text for name, text in headers.items()}.get("retry-after", "")
    return float(value) if re.fullmatch("[0-9]{1,6}", value) else None  # more than 11 days is no pause
