"""Tells a deployment's notifiers of a run that failed, of odd data, and of a day's upload that is late.

What they get is a headline of counts, names and this project's own messages, and a link to the run: no value of a row.
An alert that cannot be sent fails nothing; the log says which.
"""

from __future__ import annotations

import logging
import sys
from copy import deepcopy
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from crm_to_meta.models import Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow.sdk.definitions.deadline import DeadlineAlert

    from crm_to_meta.pipeline.alerts import NotifierSettings
    from crm_to_meta.pipeline.settings import Pipeline

log = logging.getLogger("crm_to_meta")

DEADLINE_NAME: Final = "upload of the day"
_NEVER_LATE: Final = frozenset({"backfill", "manual", "asset_materialization"})  # nobody waits for these every day


def build_failure_callback(pipeline: Pipeline) -> Callable[[Any], None] | None:
    """Return what Airflow calls once where a run has failed, if anybody wants to know. The DAG processor runs it."""
    if not pipeline.alerts.on_failure:
        return None

    def tell(context: Any) -> None:  # Airflow logs its name; of a `partial`, it logs all arguments of all notifiers
        tell_failure(pipeline, context)

    return tell


def build_deadline(pipeline: Pipeline) -> DeadlineAlert | None:
    """Return the deadline of a run, if there is one. Its callback runs where tasks run.

    It counts from when the run was queued: from its logical date, every backfill of an old day would be late at once.
    `airflow dags test`, which watches no deadline, cannot end a DAG that has one (3.3.2: it asks the database for the
    deadline's settings instead of its id).
    """
    if pipeline.alerts.late_after_minutes is None or sys.argv[1:3] == ["dags", "test"]:
        return None
    from airflow.sdk.definitions.callback import SyncCallback
    from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(minutes=pipeline.alerts.late_after_minutes),
        callback=SyncCallback(tell_late, kwargs={"pipeline_name": pipeline.name}),
        name=DEADLINE_NAME,
    )


def tell_failure(pipeline: Pipeline, context: Mapping[str, Any]) -> None:
    """Tell of a live run that failed: its figures, and what its first failed task said."""
    if _mode_of(context) is not Mode.LIVE:
        return
    from crm_to_meta_airflow.outcome import describe_handed_over

    what = describe_handed_over(_pull_handed_over(context)) or "the log of its failed task says why"
    headline = f"{pipeline.name} failed: {what}."
    _notify(pipeline, pipeline.alerts.on_failure, context, headline, run_id=_run_id_of(context))


def tell_quality(pipeline: Pipeline, mode: Mode, sentence: str) -> None:
    """Tell of a live run whose rows break a rule about the batch; called by the task `validate`."""
    if mode is not Mode.LIVE or not pipeline.alerts.on_quality:
        return
    from airflow.sdk import get_current_context

    context: Any = get_current_context()
    headline = f"{pipeline.name}: the data looks odd. {sentence}"
    _notify(pipeline, pipeline.alerts.on_quality, context, headline, run_id=_run_id_of(context))


def tell_late(context: Mapping[str, Any], pipeline_name: str) -> None:
    """Tell of a run that is not done in time; Airflow calls it by this name, with the run as a plain mapping."""
    from crm_to_meta.pipeline.settings import load_pipeline, pipelines_folder

    run = context["dag_run"]
    if str(run.get("run_type")) in _NEVER_LATE:
        return
    pipeline = load_pipeline(pipelines_folder() / f"{pipeline_name}.yaml")
    minutes = pipeline.alerts.late_after_minutes
    headline = f"{pipeline.name} is late: the run {run['dag_run_id']} is not done {minutes} minutes after it was due."
    _notify(pipeline, pipeline.alerts.on_late, context, headline, run_id=run["dag_run_id"])


def find_unusable_notifiers(pipeline: Pipeline) -> list[str]:
    """Return a sentence for each notifier of the pipeline file that cannot be made, with key and remedy."""
    problems = []
    for key, notifiers in pipeline.alerts.notifiers.items():
        for position, settings in enumerate(notifiers):
            try:
                _make(settings)
            except Exception as error:  # noqa: BLE001 - a notifier may raise anything, and may quote its arguments
                problems.append(
                    f"{pipeline.name}.yaml: key `{key}.{position}`: {settings.notifier} cannot be made "
                    f"({_explain(error)}); correct `notifier` or `arguments`."
                )
    return problems


def link_to_run(dag_id: str, run_id: str) -> str:
    """Return the address of a run's tab in Airflow (docs/pages.md), whole where Airflow knows its own."""
    from airflow.sdk.configuration import conf

    base_url = str(conf.get("api", "base_url", fallback="") or "").rstrip("/")
    return f"{base_url}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}/plugin/crm_to_meta_run"


def _notify(
    pipeline: Pipeline,
    notifiers: Sequence[NotifierSettings],
    context: Mapping[str, Any],
    headline: str,
    *,
    run_id: str,
) -> None:
    dag = context.get("dag")
    if not hasattr(dag, "get_template_env"):  # there is none, or that of the scheduler, which renders nothing
        dag = None
    for settings in notifiers:
        try:
            words = {
                "headline": " ".join(headline.split()),
                "link": link_to_run(pipeline.dag_id, run_id),
                "pipeline": pipeline.name,
            }
            _make(settings)({**context, "dag": dag, **words})
        except Exception as error:  # noqa: BLE001 - an alert fails nothing
            log.warning("%s could not be told: %s", settings.notifier, _explain(error))


def _make(settings: NotifierSettings) -> Any:
    """Return the notifier; it keeps its arguments and changes them, so it gets its own."""
    from importlib import import_module

    module, _, name = settings.notifier.rpartition(".")
    return getattr(import_module(module), name)(**deepcopy(settings.arguments))


def _explain(error: Exception) -> str:
    """Return what went wrong without a text that may quote an argument, such as a webhook's address."""
    return str(error) if isinstance(error, (ImportError, AttributeError, TypeError)) else type(error).__name__


def _mode_of(context: Mapping[str, Any]) -> Mode | None:
    from crm_to_meta.errors import ConfigurationError
    from crm_to_meta.pipeline.mode import resolve_mode

    run = context.get("dag_run")
    if run is None:  # Airflow knows of no failed task
        return Mode.LIVE
    params = run.conf or {}  # a callback's `params` are those of the DAG, whatever the form said
    run_type = str(getattr(run.run_type, "value", run.run_type))
    try:
        return resolve_mode(
            asked=params.get("mode"), run_type=run_type, test_event_code=params.get("test_event_code") or None
        )
    except ConfigurationError:  # a person is looking at the form's answer
        return None


def _run_id_of(context: Mapping[str, Any]) -> str:
    run = context.get("dag_run")
    return str(context.get("run_id") or getattr(run, "run_id", ""))


def _pull_handed_over(context: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """Return what the run's tasks have left, by key and task; of mapped tasks the first."""
    from crm_to_meta_airflow.outcome import FIGURES_KEY, PROBLEM_KEY, STEPS

    instance = context.get("ti")
    if instance is None:
        return {}
    found: dict[tuple[str, str], str] = {}
    for key, task_id in [(FIGURES_KEY, "audit"), *((PROBLEM_KEY, step) for step in STEPS)]:
        try:
            pulled = instance.xcom_pull(task_ids=task_id, key=key)
        except Exception as error:  # noqa: BLE001 - then the alert has less to say
            log.debug("%s of %s could not be read: %s", key, task_id, type(error).__name__)
            continue
        values = pulled if isinstance(pulled, list) else [pulled]
        if first := next((value for value in values if value), None):
            found[key, task_id] = str(first)
    return found
