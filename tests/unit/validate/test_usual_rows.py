"""How many rows are expected follows from comparable past runs alone, and only where there are enough of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from crm_to_meta.models import Mode
from crm_to_meta.pipeline.settings import ExpectedRows
from crm_to_meta.validate.usual_rows import Batch, PastRun, RowBounds, expected_rows

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)  # end of the window: Sunday's rows
SETTINGS = ExpectedRows(at_least=0.5, at_most=2, past_runs=3)
WEEKDAY, SUNDAY = 1_000, 40


def past(*days_ago: int, rows: int | None = None) -> list[PastRun]:
    """Return daily runs of a company whose Sundays are quiet."""
    ends = [MONDAY - timedelta(days=days) for days in days_ago]
    return [PastRun(end, rows or (SUNDAY if end.weekday() == MONDAY.weekday() else WEEKDAY)) for end in ends]


def bounds_of(past_runs: list[PastRun], **changes: Any) -> RowBounds:
    """Return the bounds of a scheduled run that ends on Monday at midnight, changed as given."""
    batch = Batch(
        rows=0, rows_until_now=0, mode=Mode.LIVE, run_type="scheduled", is_sweep=True, window_end=MONDAY,
        follows_on=True, past_runs=past_runs,
    )  # fmt: skip
    zone = changes.pop("zone", UTC)
    return expected_rows(SETTINGS, replace(batch, **changes), zone=zone, worth_judging=20)


@pytest.mark.parametrize("days", [(), (1,), (1, 2, 3, 4, 5, 6)])
def test_a_first_week_is_not_judged(days: tuple[int, ...]) -> None:
    """Until a whole week is on record nothing is known of quiet days; why is said with the number of runs."""
    found = bounds_of(past(*days))

    assert (found.fewest, found.most) == (None, None)
    assert found.why_not.startswith(f"{len(days)} past runs on record")


def test_after_a_week_any_number_of_that_week_is_usual() -> None:
    """Between half of the quietest and twice the busiest run: a quiet Sunday is within it."""
    assert bounds_of(past(*range(1, 8))) == RowBounds(fewest=20, most=2_000)


def test_runs_of_the_same_weekday_are_compared_once_there_are_enough() -> None:
    """Three Sundays say more than twenty other days."""
    assert bounds_of(past(*range(1, 22))) == RowBounds(fewest=20, most=80)


def test_an_outlier_among_the_past_runs_does_not_count() -> None:
    """The usual number is a median: the week of a fair leaves no trace."""
    runs = [*past(7, 14, 21), *past(28, rows=10**6), *past(35, rows=1)]

    assert bounds_of(runs) == RowBounds(fewest=20, most=80)


def test_weekdays_are_those_of_the_pipelines_zone() -> None:
    """A run that ends at 05:00 UTC ends a day of New York's, and is compared with those that do."""
    end = datetime(2026, 11, 23, 5, tzinfo=UTC)
    runs = [PastRun(end - timedelta(days=7 * week), 100 * week) for week in (1, 2, 3)]

    assert bounds_of(runs, window_end=end, zone=ZoneInfo("America/New_York")) == RowBounds(fewest=100, most=400)


def test_an_hour_is_compared_with_the_same_hour() -> None:
    """Hourly runs have nights."""
    hourly = [PastRun(MONDAY - timedelta(hours=hours), 900) for hours in range(1, 6)]
    nights = [PastRun(MONDAY - timedelta(days=7 * week), 100) for week in (1, 2, 3)]

    assert bounds_of([*hourly, *nights]) == RowBounds(fewest=50, most=200)


def test_few_rows_are_never_too_few() -> None:
    """Where three rows are usual, none is chance, and twenty are no flood."""
    assert bounds_of(past(7, 14, 21, rows=3)) == RowBounds(fewest=None, most=40)


def test_rows_that_pile_up_are_not_too_many() -> None:
    """After an outage or a change of the settings rows of several days come at once."""
    assert bounds_of(past(7, 14, 21), follows_on=False) == RowBounds(fewest=20, most=None)
    assert bounds_of(past(7, 14, 21, rows=3), follows_on=False) == RowBounds(why_not="past runs had fewer than 20 rows")


@pytest.mark.parametrize(
    "change",
    [
        {"mode": Mode.PREVIEW},
        {"mode": Mode.TEST},
        {"run_type": "manual"},
        {"run_type": "backfill"},
        {"is_sweep": False},
    ],
    ids=str,
)
def test_only_scheduled_live_runs_are_judged(change: dict[str, Any]) -> None:
    """A backfill has its own days, and a second run of a day finds little."""
    assert bounds_of(past(7, 14, 21), **change) == RowBounds(why_not="only scheduled live runs are compared")
