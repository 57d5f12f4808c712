"""What period a run is about, for everything that Airflow 3.3 calls a date."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_to_meta.errors import ConfigurationError
from crm_to_meta.models import Window
from crm_to_meta.pipeline.settings import Pipeline
from crm_to_meta.pipeline.window import resolve_window

LOOKBACK = timedelta(days=8)
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "America/Havana", "Africa/Cairo"]

moments = st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
lengths = st.timedeltas(timedelta(0), timedelta(days=40))
run_types = st.sampled_from(["scheduled", "manual", "backfill", "asset_triggered", "operator_triggered"])


def pipeline_in(zone: str = "UTC", *, lookback_hours: int = 192) -> Pipeline:
    """Return a pipeline in a zone."""
    return Pipeline(
        name="leads", start_date=date(2026, 1, 1), stages={"new": "Lead"}, time_zone=zone, lookback_hours=lookback_hours
    )


def resolve(
    run_type: str,
    start: datetime | None = None,
    end: datetime | None = None,
    run_after: datetime | None = None,
    picked_day: str | None = None,
    pipeline: Pipeline | None = None,
    *,
    is_interval_picked: bool = False,
) -> Window:
    """Resolve a window; by default the run starts as its interval ends."""
    return resolve_window(
        pipeline or pipeline_in(),
        run_type=run_type,
        interval_start=start,
        interval_end=end,
        run_after=run_after or end or utc(2026, 3, 11, 9),
        picked_day=picked_day,
        is_interval_picked=is_interval_picked,
    )


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    """Return a moment in UTC."""
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


# --- Runs with an interval --------------------------------------------------------------------------------------------


def test_a_scheduled_run_looks_back_from_the_end_of_its_interval() -> None:
    """The daily run of March 10 reconciles the eight days up to its midnight."""
    window = resolve("scheduled", utc(2026, 3, 10), utc(2026, 3, 11))

    assert window == Window(start=utc(2026, 3, 11) - LOOKBACK, end=utc(2026, 3, 11), is_sweep=True)


def test_a_late_scheduled_run_still_ends_with_its_interval() -> None:
    """A scheduler that was down does not move the window."""
    window = resolve("scheduled", utc(2026, 3, 10), utc(2026, 3, 11), run_after=utc(2026, 3, 14, 7))

    assert window.end == utc(2026, 3, 11)


def test_a_backfill_run_takes_exactly_its_own_interval() -> None:
    """A backfill of March 10 is about March 10, not about the week before."""
    window = resolve("backfill", utc(2026, 3, 10), utc(2026, 3, 11), run_after=utc(2026, 6, 1))

    assert window == Window(start=utc(2026, 3, 10), end=utc(2026, 3, 11), is_sweep=False)


def test_a_backfill_without_an_interval_reconciles() -> None:
    """Where the timetable gives no interval there is nothing exact to take: look back from the last midnight."""
    window = resolve("backfill", run_after=utc(2026, 3, 11, 9))

    assert window == Window(start=utc(2026, 3, 11) - LOOKBACK, end=utc(2026, 3, 11), is_sweep=True)


def test_dags_test_looks_back_from_the_day_it_names() -> None:
    """`airflow dags test DAG 2026-03-10` infers the manual interval [9th, 10th) and runs at once, whenever that is."""
    window = resolve("manual", utc(2026, 3, 9), utc(2026, 3, 10), run_after=utc(2026, 11, 22, 15))

    assert window == Window(start=utc(2026, 3, 10) - LOOKBACK, end=utc(2026, 3, 10), is_sweep=True)


def test_a_manual_interval_in_the_future_ends_now() -> None:
    """`airflow dags test` with a day to come takes what there is by now, and no day that has not been."""
    window = resolve("manual", utc(2026, 12, 30), utc(2026, 12, 31), run_after=utc(2026, 11, 22, 15))

    assert window == Window(start=utc(2026, 11, 22, 15) - LOOKBACK, end=utc(2026, 11, 22, 15), is_sweep=True)


@pytest.mark.parametrize("run_type", ["scheduled", "manual", "backfill"])
def test_an_interval_of_zero_width_counts_as_none(run_type: str) -> None:
    """A bare `@daily` has an interval without any length: the run reconciles up to the last midnight."""
    window = resolve(run_type, utc(2026, 3, 11), utc(2026, 3, 11), run_after=utc(2026, 3, 11, 0, 5))

    assert window == Window(start=utc(2026, 3, 11) - LOOKBACK, end=utc(2026, 3, 11), is_sweep=True)


# --- Runs without an interval -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("run_type", ["manual", "asset_triggered"])
def test_a_run_without_an_interval_looks_back_from_the_last_midnight(run_type: str) -> None:
    """`airflow dags trigger DAG`, the API without a date and assets give no interval."""
    window = resolve(run_type, run_after=utc(2026, 3, 11, 9, 30))

    assert window == Window(start=utc(2026, 3, 11) - LOOKBACK, end=utc(2026, 3, 11), is_sweep=True)


@pytest.mark.parametrize(
    ("zone", "run_after", "midnight"),
    [
        pytest.param(
            "Europe/Berlin", utc(2026, 3, 10, 23, 30), utc(2026, 3, 10, 23), id="half past midnight in Berlin"
        ),
        pytest.param("America/New_York", utc(2026, 3, 11, 3, 30), utc(2026, 3, 10, 4), id="evening before in New York"),
        pytest.param("America/New_York", utc(2026, 3, 8, 20), utc(2026, 3, 8, 5), id="day the clocks went forward"),
        pytest.param("Europe/Berlin", utc(2026, 10, 25, 20), utc(2026, 10, 24, 22), id="day the clocks went back"),
        pytest.param("UTC", utc(2026, 3, 11), utc(2026, 3, 11), id="at midnight sharp"),
    ],
)
def test_the_last_midnight_is_the_pipelines(zone: str, run_after: datetime, midnight: datetime) -> None:
    """A day begins where the pipeline is, not in Greenwich."""
    window = resolve("manual", run_after=run_after, pipeline=pipeline_in(zone))

    assert window.end == midnight


# --- A day picked by hand ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "day", "start", "end"),
    [
        pytest.param("UTC", "2026-03-10", utc(2026, 3, 10), utc(2026, 3, 11), id="UTC"),
        pytest.param("Europe/Berlin", "2026-01-15", utc(2026, 1, 14, 23), utc(2026, 1, 15, 23), id="Berlin, winter"),
        pytest.param("Europe/Berlin", "2026-03-29", utc(2026, 3, 28, 23), utc(2026, 3, 29, 22), id="Berlin, 23 hours"),
        pytest.param(
            "Europe/Berlin", "2026-10-25", utc(2026, 10, 24, 22), utc(2026, 10, 25, 23), id="Berlin, 25 hours"
        ),
        pytest.param("America/New_York", "2026-03-08", utc(2026, 3, 8, 5), utc(2026, 3, 9, 4), id="New York, 23 hours"),
        pytest.param(
            "America/New_York", "2026-11-01", utc(2026, 11, 1, 4), utc(2026, 11, 2, 5), id="New York, 25 hours"
        ),
        pytest.param("Africa/Cairo", "2026-04-24", utc(2026, 4, 23, 22), utc(2026, 4, 24, 21), id="Cairo, no midnight"),
        pytest.param(
            "America/Havana", "2026-11-01", utc(2026, 11, 1, 4), utc(2026, 11, 2, 5), id="Havana, two midnights"
        ),
    ],
)
def test_a_picked_day_is_exactly_that_day_of_the_pipelines_zone(
    zone: str, day: str, start: datetime, end: datetime
) -> None:
    """The parameter `date` means midnight to midnight where the pipeline is, also when clocks change."""
    window = resolve("manual", run_after=utc(2026, 12, 1), picked_day=day, pipeline=pipeline_in(zone))

    assert window == Window(start=start, end=end, is_sweep=False)


@pytest.mark.parametrize("run_type", ["manual", "scheduled"])
def test_a_picked_day_outranks_the_interval(run_type: str) -> None:
    """Who picks a day gets that day, whatever interval Airflow inferred."""
    window = resolve(run_type, utc(2026, 3, 10), utc(2026, 3, 11), picked_day="2026-02-01")

    assert window == Window(start=utc(2026, 2, 1), end=utc(2026, 2, 2), is_sweep=False)


@pytest.mark.parametrize(
    ("zone", "run_after"),
    [
        pytest.param("UTC", utc(2026, 3, 10, 23, 59), id="its last minute"),
        pytest.param(
            "America/New_York", utc(2026, 3, 11, 3, 59), id="its last minute in New York, the next day in UTC"
        ),
        pytest.param("UTC", utc(2026, 3, 1), id="long before"),
    ],
)
def test_a_day_that_is_not_over_is_refused(zone: str, run_after: datetime) -> None:
    """The message names the day, the zone and what to pick instead."""
    with pytest.raises(ConfigurationError) as refusal:
        resolve("manual", run_after=run_after, picked_day="2026-03-10", pipeline=pipeline_in(zone))

    assert str(refusal.value) == f"2026-03-10 has not ended yet in {zone}; pick yesterday or an earlier day."


def test_a_day_can_be_picked_from_its_last_moment_on() -> None:
    """At midnight the day is over."""
    window = resolve("manual", run_after=utc(2026, 3, 11), picked_day="2026-03-10")

    assert window.end == utc(2026, 3, 11)


@pytest.mark.parametrize(
    "text", ["yesterday", "2026-02-30", "10.03.2026", "2026-03", "9999-12-31", "0001-01-01T00", "20260301"]
)
def test_what_is_no_day_is_refused(text: str) -> None:
    """The message says how to write a date, and repeats nothing."""
    with pytest.raises(ConfigurationError) as refusal:
        resolve("manual", picked_day=text)

    assert str(refusal.value) == "Parameter `date` is not a calendar date; write it as YYYY-MM-DD."


@pytest.mark.parametrize("blank", [None, ""], ids=repr)
def test_no_day_picked_means_none(blank: str | None) -> None:
    """The form of the UI leaves an empty field as null or as an empty text."""
    assert resolve("manual", picked_day=blank).is_sweep


def test_a_backfill_with_a_picked_day_is_refused() -> None:
    """A backfill of a week that takes one day seven times is nobody's wish."""
    with pytest.raises(ConfigurationError, match=r"^A backfill takes the days that it is started for, and `date`"):
        resolve("backfill", utc(2026, 3, 10), utc(2026, 3, 11), picked_day="2026-02-01")


# --- An interval picked by hand ---------------------------------------------------------------------------------------


def test_a_picked_interval_is_exactly_that() -> None:
    """Airflow's form has "Specify manually": the run takes those hours, and does not look back."""
    window = resolve(
        "manual", utc(2026, 3, 9, 6), utc(2026, 3, 10, 18), run_after=utc(2026, 3, 11, 9), is_interval_picked=True
    )

    assert window == Window(start=utc(2026, 3, 9, 6), end=utc(2026, 3, 10, 18), is_sweep=False)


@pytest.mark.parametrize(
    ("start", "end", "picked_day", "told"),
    [
        (utc(2026, 3, 10), utc(2026, 3, 12), None, "has not ended yet"),
        (utc(2026, 3, 10), utc(2026, 3, 9), None, "ends before it has begun"),
        (utc(2026, 3, 10), utc(2026, 3, 10), None, "ends before it has begun"),
        (utc(2026, 3, 9), utc(2026, 3, 10), "2026-03-01", "two answers to one question"),
    ],
    ids=["to come", "backwards", "empty", "with a day"],
)
def test_an_interval_that_cannot_be_is_refused(
    start: datetime, end: datetime, picked_day: str | None, told: str
) -> None:
    """Nothing else is taken in its place."""
    with pytest.raises(ConfigurationError, match=told):
        resolve(
            "manual",
            start,
            end,
            run_after=utc(2026, 3, 11, 9),
            picked_day=picked_day,
            is_interval_picked=True,
        )


# --- Rules that always hold -------------------------------------------------------------------------------------------


@given(
    run_type=run_types,
    end=moments,
    length=st.none() | lengths,
    delay=st.timedeltas(timedelta(days=-40), timedelta(days=400)),
    zone=st.sampled_from(ZONES),
    lookback_hours=st.integers(1, 744),
)
def test_a_window_is_never_empty_and_a_sweep_is_as_long_as_the_lookback(
    run_type: str, end: datetime, length: timedelta | None, delay: timedelta, zone: str, lookback_hours: int
) -> None:
    """Whatever Airflow gives: some time passes in the window, and a sweep reaches back by exactly the lookback."""
    has_interval = length is not None
    window = resolve(
        run_type,
        end - length if length is not None else None,
        end if has_interval else None,
        end + delay,
        pipeline=pipeline_in(zone, lookback_hours=lookback_hours),
    )

    assert window.start < window.end
    assert not window.is_sweep or window.end - window.start == timedelta(hours=lookback_hours)
    assert window.is_sweep or (run_type == "backfill" and window.end - window.start == length)


@given(end=moments, length=st.none() | lengths, delay=st.timedeltas(timedelta(days=-40), timedelta(days=400)))
def test_a_manual_window_never_ends_after_the_run_begins(
    end: datetime, length: timedelta | None, delay: timedelta
) -> None:
    """No manual run is about time that has not passed."""
    start = end - length if length is not None else None
    window = resolve("manual", start, end if length is not None else None, end + delay)

    assert window.end <= end + delay


@given(end=moments, zone=st.sampled_from(ZONES))
def test_a_sweep_counts_hours_and_not_what_a_wall_clock_shows(end: datetime, zone: str) -> None:
    """An interval that comes with a zone of its own gives the same window: the lookback is not an hour off in March."""
    local = end.astimezone(ZoneInfo(zone))
    window = resolve("scheduled", local - timedelta(days=1), local, run_after=end)

    assert window == resolve("scheduled", end - timedelta(days=1), end)


@given(day=st.dates(date(2000, 1, 1), date(2040, 1, 1)), zone=st.sampled_from(ZONES))
def test_picked_days_leave_no_gap_and_do_not_overlap(day: date, zone: str) -> None:
    """Each day ends where the next one begins: a backfill by hand meets every moment once."""
    first, second = (
        resolve("manual", run_after=utc(2041, 1, 1), picked_day=f"{each}", pipeline=pipeline_in(zone))
        for each in (day, day + timedelta(days=1))
    )

    assert first.end == second.start
    assert first.start < first.end or (zone, day) == ("Pacific/Apia", date(2011, 12, 30))
