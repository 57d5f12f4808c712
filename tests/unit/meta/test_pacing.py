"""When nothing is sent, and for how long."""

from __future__ import annotations

import pytest

from crm_to_meta.meta.answers import Action, Answer
from crm_to_meta.meta.pacing import back_off_s, blocked_s, slow_down_s
from crm_to_meta.meta.usage import Usage

DELIVERED, LIMITED, RETRY = Action.DELIVERED, Action.RATE_LIMIT, Action.RETRY


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (Answer(action=LIMITED), 300),
        (Answer(action=LIMITED, retry_after_s=20), 20),
        (Answer(action=LIMITED, retry_after_s=0), 0),
        (Answer(action=LIMITED, usage=Usage(percent=100, blocked_s=420)), 420),
        (Answer(action=LIMITED, retry_after_s=20, usage=Usage(blocked_s=420)), 420),
        (Answer(action=DELIVERED), 0),
        (Answer(action=DELIVERED, usage=Usage(percent=99)), 0),
        (Answer(action=DELIVERED, usage=Usage(percent=100)), 300),
        (Answer(action=DELIVERED, usage=Usage(percent=100, blocked_s=60)), 60),
        (Answer(action=RETRY, retry_after_s=30), 30),
    ],
    ids=repr,
)
def test_meta_says_how_long_it_wants_no_call(answer: Answer, seconds: float) -> None:
    """The longest of what headers tell; five minutes where a limit is met and nothing is told."""
    assert blocked_s(answer) == seconds


@pytest.mark.parametrize(("percent", "seconds"), [(0, 0), (75, 0), (80, 6), (87.5, 15), (100, 30), (250, 30)])
def test_sending_slows_down_before_the_limit(percent: float, seconds: float) -> None:
    """From three quarters on, the pause after a request grows with the share that is used up."""
    assert slow_down_s(Answer(action=DELIVERED, usage=Usage(percent=percent))) == pytest.approx(seconds)


@pytest.mark.parametrize(("attempt", "longest"), [(1, 2), (2, 4), (5, 32), (6, 60), (19, 60)])
def test_waits_between_attempts_grow_and_differ(attempt: int, longest: float) -> None:
    """Exponential, up to a minute, and drawn anew each time, so that tasks do not come back all at once."""
    drawn = [back_off_s(attempt) for _ in range(200)]

    assert 0 <= min(drawn) < longest * 0.2
    assert longest * 0.8 < max(drawn) <= longest
