"""The batch as a whole, and how many rows the runs before it make usual."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from crm_to_meta.models import Mode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, tzinfo

    from crm_to_meta.pipeline.settings import ExpectedRows

REACH: Final = timedelta(days=35)  # five of each weekday
_RUNS_OF_A_WEEK: Final = 7  # then a quiet Sunday is among them


class PastRun(NamedTuple):
    """A run that this one can be compared with."""

    window_end: datetime
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The staged rows of a run as a whole.

    `rows_until_now` leaves out those that are dated in the future.
    `follows_on` is true where the run before left nothing over and judged by the same settings, false where it did not,
    and None where there is none: then rows of many days come at once, and that says nothing about the source.
    """

    rows: int
    rows_until_now: int
    mode: Mode
    run_type: str
    is_sweep: bool
    window_end: datetime
    follows_on: bool | None
    past_runs: Sequence[PastRun] = ()
    known_stages: frozenset[str] = frozenset()


class RowBounds(NamedTuple):
    """How many rows are expected; None: any number. Without either, `why_not` says why."""

    fewest: int | None = None
    most: int | None = None
    why_not: str = ""

    @property
    def description(self) -> str:
        """The bounds as a sentence."""
        fewest = [f"at least {self.fewest:,}"] if self.fewest is not None else []
        most = [f"at most {self.most:,}"] if self.most is not None else []
        if self.why_not:
            return "about as many rows as in past runs"
        return f"{' and '.join(fewest + most)} rows, going by past runs"


def expected_rows(settings: ExpectedRows, batch: Batch, *, zone: tzinfo, worth_judging: int) -> RowBounds:
    """Return the bounds for the number of rows.

    The usual number is the median of past runs for the same weekday and hour. Until there are enough of those it is any
    number of the last runs, once they hold a whole week.

    Args:
        settings: the thresholds.
        batch: the run and the runs before it.
        zone: whose weekdays count.
        worth_judging: usual numbers below this are too small to say that fewer are too few.
    """
    if batch.mode is not Mode.LIVE or batch.run_type != "scheduled" or not batch.is_sweep:
        return RowBounds(why_not="only scheduled live runs are compared")
    same_day = [run.rows for run in batch.past_runs if _slot(run.window_end, zone) == _slot(batch.window_end, zone)]
    if len(same_day) >= settings.past_runs:
        low = high = float(median(same_day))
    elif len(batch.past_runs) >= _RUNS_OF_A_WEEK:
        low, high = (float(choose(run.rows for run in batch.past_runs)) for choose in (min, max))
    else:
        return RowBounds(
            why_not=f"{len(batch.past_runs)} past runs on record: {settings.past_runs} of the same weekday or "
            f"{_RUNS_OF_A_WEEK} in all are needed"
        )
    fewest = math.ceil(settings.at_least * low) if low >= worth_judging else None
    most = math.floor(settings.at_most * max(high, worth_judging)) if batch.follows_on else None
    if fewest is None and most is None:
        return RowBounds(why_not=f"past runs had fewer than {worth_judging} rows")
    return RowBounds(fewest, most)


def _slot(window_end: datetime, zone: tzinfo) -> tuple[int, int]:
    local = window_end.astimezone(zone)
    return local.weekday(), local.hour
