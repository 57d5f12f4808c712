"""How many seconds nothing is sent after an answer of Meta's. Pure, but for the jitter.

Source: "Rate Limits" of Meta's documentation: who is limited should stop, since further calls lengthen the block.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from crm_to_meta.meta.answers import Action
from crm_to_meta.meta.usage import FULL_PERCENT

if TYPE_CHECKING:
    from crm_to_meta.meta.answers import Answer

FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 60.0
RATE_LIMIT_WAIT_S: Final = 300.0  # where Meta does not say: limits are counted over an hour
SLOW_FROM_PERCENT: Final = 75.0
SLOWEST_S: Final = 30.0  # right before the limit


def blocked_s(answer: Answer) -> float:
    """Return for how long Meta wants no call at all."""
    asked_s = max(answer.retry_after_s or 0.0, answer.usage.blocked_s)
    is_told = answer.retry_after_s is not None or answer.usage.blocked_s > 0
    is_limited = answer.action is Action.RATE_LIMIT or answer.usage.percent >= FULL_PERCENT
    return RATE_LIMIT_WAIT_S if is_limited and not is_told else asked_s


def slow_down_s(answer: Answer) -> float:
    """Return a pause that grows with the share of the limit that is used up, so that the limit is hardly ever met."""
    over = min(answer.usage.percent, FULL_PERCENT) - SLOW_FROM_PERCENT
    return max(0.0, SLOWEST_S * over / (FULL_PERCENT - SLOW_FROM_PERCENT))


def back_off_s(attempt: int) -> float:
    """Return the wait before the next attempt: exponential, with full jitter."""
    return random.uniform(0, min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**attempt))  # noqa: S311 - jitter, no secret
