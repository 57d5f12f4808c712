"""Reads the facts of a DAG run from the context of the running task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context

from crm_to_meta.errors import ConfigurationError
from crm_to_meta.models import DagRunFacts, Mode
from crm_to_meta.pipeline.window import resolve_window

if TYPE_CHECKING:
    from crm_to_meta.pipeline.settings import Pipeline


def read_facts(pipeline: Pipeline) -> DagRunFacts:
    """Return what the current task's DAG run is about.

    Raises:
        ConfigurationError: a parameter does not fit the others.
    """
    context: Any = get_current_context()
    dag_run, params = context["dag_run"], context["params"]
    window = resolve_window(
        pipeline,
        run_type=str(getattr(dag_run.run_type, "value", dag_run.run_type)),
        interval_start=context.get("data_interval_start"),  # a manual run without a date has no interval at all
        interval_end=context.get("data_interval_end"),
        run_after=dag_run.run_after,
        picked_day=params.get("date"),
    )
    return DagRunFacts(
        dag_run_id=dag_run.run_id,
        run_type=str(getattr(dag_run.run_type, "value", dag_run.run_type)),
        mode=read_mode(),
        window=window,
        test_event_code=read_test_event_code(),
    )


def read_mode() -> Mode:
    """Return the run's mode."""
    context: Any = get_current_context()
    return Mode(context["params"]["mode"])


def read_test_event_code() -> str | None:
    """Return the test event code of a test run.

    Raises:
        ConfigurationError: a test run without one, or a code in another mode.
    """
    context: Any = get_current_context()
    code = context["params"].get("test_event_code") or None
    if (read_mode() is Mode.TEST) != (code is not None):
        raise ConfigurationError(
            "Parameter `test_event_code` goes with mode `test` and no other; Events Manager shows it under Test events."
        )
    return code


def read_try_number() -> int:
    """Return which try of the task this is; a cleared task goes on counting."""
    context: Any = get_current_context()
    return int(context["ti"].try_number)


def show_label(label: str) -> None:
    """Name the mapped task in the UI; the DAG's `map_index_template` shows it."""
    context: Any = get_current_context()
    context["label"] = label
