"""A long load says now and then how far it is, and a short one says nothing."""

from __future__ import annotations

import pytest

from crm_to_meta.load.progress import LoadProgress, describe_progress


def test_a_sentence_comes_every_half_minute() -> None:
    """However many requests there are: not more often, and only when something was settled."""
    told: list[str] = []
    seconds = iter([0.0, 10.0, 29.0, 31.0, 45.0, 62.0])
    progress = LoadProgress(6000, told.append, clock=lambda: next(seconds))
    for _ in range(5):
        progress.add(1000)

    assert told == [
        "3,000 of 6,000 events, 97 a second, about 31 s left",
        "5,000 of 6,000 events, 81 a second, about 12 s left",
    ]


@pytest.mark.parametrize(
    ("done", "total", "seconds", "sentence"),
    [
        (0, 10, 0, "0 of 10 events, 0 a second"),
        (0, 10, 5, "0 of 10 events, 0 a second"),
        (10, 10, 2, "10 of 10 events, 5 a second"),
        (1_000, 1_000_000, 1, "1,000 of 1,000,000 events, 1,000 a second, about 16 min left"),
        (1_000, 20_000_000, 1, "1,000 of 20,000,000 events, 1,000 a second, about 5 h 33 min left"),
    ],
)
def test_progress_in_words(done: int, total: int, seconds: float, sentence: str) -> None:
    """Done, rate, and what is left at that rate."""
    assert describe_progress(done, total, seconds=seconds) == sentence
