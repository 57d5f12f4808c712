"""Reads the facts of a DAG run from the context of the running task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context

from crm_to_meta.models import DagRunFacts, Mode
from crm_to_meta.pipeline.mode import resolve_mode
from crm_to_meta.pipeline.window import resolve_window

if TYPE_CHECKING:
    from datetime import datetime

    from crm_to_meta.pipeline.settings import Pipeline


def read_facts(pipeline: Pipeline) -> DagRunFacts:
    """Return what the current task's DAG run is about.

    Raises:
        ConfigurationError: a parameter does not fit the others.
    """
    context: Any = get_current_context()
    dag_run = context["dag_run"]
    interval_start = context.get("data_interval_start")  # a manual run without a date has no interval at all
    interval_end = context.get("data_interval_end")
    window = resolve_window(
        pipeline,
        run_type=read_run_type(),
        interval_start=interval_start,
        interval_end=interval_end,
        run_after=dag_run.run_after,
        picked_day=context["params"].get("date"),
        is_interval_picked=_is_interval_picked(pipeline, context),
    )
    return DagRunFacts(
        dag_run_id=dag_run.run_id,
        run_type=read_run_type(),
        mode=read_mode(),
        window=window,
        test_event_code=read_test_event_code(),
    )


def read_run_type() -> str:
    """Return what started the run, in Airflow's words: scheduled, backfill, manual and others."""
    context: Any = get_current_context()
    run_type = context["dag_run"].run_type
    return str(getattr(run_type, "value", run_type))


def read_mode() -> Mode:
    """Return the run's mode.

    Raises:
        ConfigurationError: mode and test event code do not go together.
    """
    context: Any = get_current_context()
    asked = context["params"].get("mode")
    return resolve_mode(asked=asked, run_type=read_run_type(), test_event_code=read_test_event_code())


def read_test_event_code() -> str | None:
    """Return the test event code, where the run has one."""
    context: Any = get_current_context()
    return context["params"].get("test_event_code") or None


def read_try_number() -> int:
    """Return which try of the task this is; a cleared task goes on counting."""
    context: Any = get_current_context()
    return int(context["ti"].try_number)


def show_label(label: str) -> None:
    """Name the mapped task in the UI; the DAG's `map_index_template` shows it."""
    context: Any = get_current_context()
    context["label"] = label


def _is_interval_picked(pipeline: Pipeline, context: Any) -> bool:
    """Say whether a person wrote the data interval down; Airflow itself keeps no record of that.

    It is so where Airflow would have inferred another interval from the logical date. An interval that is exactly the
    inferred one is taken for that.
    """
    logical_date: datetime | None = context.get("logical_date")
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    if read_run_type() != "manual" or logical_date is None or start is None or end is None:
        return False
    import pendulum
    from airflow.timetables.interval import CronDataIntervalTimetable

    timetable = CronDataIntervalTimetable(pipeline.schedule, timezone=pipeline.time_zone)
    inferred = timetable.infer_manual_data_interval(run_after=pendulum.instance(logical_date))
    return (start, end) != (inferred.start, inferred.end)
