"""Read from the headers of an answer how much of Meta's rate limits is used up.

Source: "Rate Limits" of Meta's documentation. Which of these headers an /events answer carries is not confirmed, so all
are read, and what cannot be read says nothing.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

APP: Final = "x-app-usage"
BUSINESS: Final = "x-business-use-case-usage"
AD_ACCOUNT: Final = "x-ad-account-usage"
FULL_PERCENT: Final = 100.0

_PERCENTS: Final = ("call_count", "total_cputime", "total_time", "acc_id_util_pct")
_MINUTE_S: Final = 60.0  # what estimated_time_to_regain_access counts in; reset_time_duration counts in seconds
_LONGEST_PAUSE_S: Final = 24 * 3600.0  # limits are counted over an hour or a day: more is no pause


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The fullest of all limits, in percent, and for how long calls are blocked (0: they are not)."""

    percent: float = 0.0
    blocked_s: float = 0.0


NO_USAGE: Final = Usage()


def read_usage(headers: Mapping[str, str]) -> Usage:
    """Return the usage that an answer's headers tell; names are in lower case."""
    entries = [entry for name in (APP, BUSINESS, AD_ACCOUNT) for entry in _entries(headers.get(name, ""))]
    percent = max((_amount(entry.get(name)) for entry in entries for name in _PERCENTS), default=0.0)
    return Usage(percent=percent, blocked_s=max(map(_blocked_s, entries), default=0.0))


def _blocked_s(entry: Mapping[str, object]) -> float:
    """Return how long an entry blocks calls. A reset time is told at any usage, and blocks only at the full one."""
    is_full = max(_amount(entry.get(name)) for name in _PERCENTS) >= FULL_PERCENT
    regains_s = _amount(entry.get("estimated_time_to_regain_access")) * _MINUTE_S
    resets_s = _amount(entry.get("reset_time_duration")) if is_full else 0.0
    return min(_LONGEST_PAUSE_S, max(regains_s, resets_s))


def _entries(text: str) -> Iterator[dict[str, object]]:
    """Yield the objects of a header that hold numbers: itself, or those in its lists, one list for each id."""
    try:
        parsed = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return
    if not isinstance(parsed, dict):
        return
    yield parsed
    for value in parsed.values():
        if isinstance(value, list):
            yield from (entry for entry in value if isinstance(entry, dict))


def _amount(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 0.0
    try:
        number = float(value)
    except OverflowError:
        return 0.0
    return number if math.isfinite(number) and number > 0 else 0.0
