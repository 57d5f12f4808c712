"""Finds the window of a DAG run. This is the only place that knows what Airflow's dates mean.

Airflow means different things by "date D" for scheduled runs, backfills, `airflow dags test D` and manual runs with or
without a date, so no step reads the context's dates itself.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from crm_to_meta.errors import ConfigurationError
from crm_to_meta.models import Window

if TYPE_CHECKING:
    from crm_to_meta.pipeline.settings import Pipeline


def resolve_window(
    pipeline: Pipeline,
    *,
    run_type: str,
    interval_start: datetime | None,
    interval_end: datetime | None,
    run_after: datetime,
    picked_day: str | None,
    is_interval_picked: bool = False,
) -> Window:
    """Return the window of a run.

    - A day picked by hand (parameter `date`): exactly that day in the pipeline's zone.
    - A data interval picked by hand ("Specify manually" in Airflow's form): exactly that interval.
    - A backfill run: exactly its own interval.
    - Every other run is a reconciliation: it ends where its interval ends (a manual one may lie in the future: then at
      `run_after`) and looks back over the whole lookback. Without an interval (a manual run without a date) it ends at
      the last midnight before `run_after`.

    Args:
        pipeline: gives zone and lookback.
        run_type: Airflow's: scheduled, backfill, manual, asset_triggered.
        interval_start: start of the run's data interval, where it has one.
        interval_end: its end.
        run_after: when the run may start; always there.
        picked_day: the day picked by hand as YYYY-MM-DD.
        is_interval_picked: a person wrote the interval down, where Airflow would have inferred another one.

    Raises:
        ConfigurationError: what was picked is no date or no interval, has not ended yet, or does not go together.
    """
    if picked_day and run_type == "backfill":
        raise ConfigurationError(
            "A backfill takes the days that it is started for, and `date` names another; start it again without `date`."
        )
    if picked_day and is_interval_picked:
        raise ConfigurationError(
            "A data interval and `date` are two answers to one question; give one of them, and leave the other alone."
        )
    if picked_day:
        return _day_window(pipeline, picked_day, now=run_after)
    if is_interval_picked and interval_start is not None and interval_end is not None:
        return _picked_window(interval_start, interval_end, now=run_after)
    end = _last_midnight(pipeline, run_after)
    if interval_start is not None and interval_end is not None and interval_start < interval_end:
        if run_type == "backfill":
            return Window(start=interval_start, end=interval_end, is_sweep=False)
        end = min(interval_end, run_after).astimezone(UTC)  # a wall clock's days have 23 to 25 hours
    return Window(start=end - timedelta(hours=pipeline.lookback_hours), end=end, is_sweep=True)


def resolve_manual_window(pipeline: Pipeline, *, picked_day: str | None, now: datetime) -> Window:
    """Return the window of a run that is started by hand now, without a data interval; see `resolve_window`."""
    return resolve_window(
        pipeline, run_type="manual", interval_start=None, interval_end=None, run_after=now, picked_day=picked_day
    )


def _day_window(pipeline: Pipeline, picked_day: str, *, now: datetime) -> Window:
    try:
        day = _read_day(picked_day)
        end = _midnight(pipeline, day + timedelta(days=1))
    except (ValueError, OverflowError):
        raise ConfigurationError("Parameter `date` is not a calendar date; write it as YYYY-MM-DD.") from None
    if end > now:
        raise ConfigurationError(
            f"{day.isoformat()} has not ended yet in {pipeline.time_zone}; pick yesterday or an earlier day."
        )
    return Window(start=_midnight(pipeline, day), end=end, is_sweep=False)


def _picked_window(start: datetime, end: datetime, *, now: datetime) -> Window:
    if start >= end:
        raise ConfigurationError("The data interval ends before it has begun; its end has to be later than its start.")
    if end > now:
        raise ConfigurationError("The data interval has not ended yet; pick one that ends in the past.")
    return Window(start=start.astimezone(UTC), end=end.astimezone(UTC), is_sweep=False)


def _read_day(text: str) -> date:
    """Read YYYY-MM-DD; Airflow's form refuses the other spellings of ISO 8601, such as 20260301."""
    day = date.fromisoformat(text)
    if day.isoformat() != text:
        raise ValueError(text)
    return day


def _last_midnight(pipeline: Pipeline, moment: datetime) -> datetime:
    return _midnight(pipeline, moment.astimezone(pipeline.zone).date())


def _midnight(pipeline: Pipeline, day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=pipeline.zone).astimezone(UTC)
