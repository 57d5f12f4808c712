"""Hands what became of a step to Airflow: XComs for notes and alerts, an asset event, metrics. None of it fails a step.

Counts, names and messages of this project's errors; a value of a row is in none of them.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import get_current_context

from crm_to_meta.models import Mode, Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow.sdk import Asset

    from crm_to_meta.audit.figures import RunFigures
    from crm_to_meta.pipeline.settings import Pipeline

log = logging.getLogger("crm_to_meta")

FIGURES_KEY: Final = "crm_to_meta_figures"  # of audit: its figures in words
PROBLEM_KEY: Final = "crm_to_meta_problem"  # of a failed task: the first sentence of its message
LONGEST_PROBLEM: Final = 200
STEPS: Final = ("extract", "validate", "transform", "load", "audit")
METRIC_PREFIX: Final = "crm_to_meta"
_COUNTERS: Final = {
    "sent": Status.DELIVERED,
    "rejected": Status.REJECTED,
    "quarantined": Status.QUARANTINED,
    "in_doubt": Status.IN_DOUBT,
}


def hand_over_problem(sentence: str) -> None:
    """Leave what a failed task says first to the run's note and to alerts."""
    with _never_failing("problem"):
        context: Any = get_current_context()
        context["ti"].xcom_push(key=PROBLEM_KEY, value=sentence.rstrip(".;")[:LONGEST_PROBLEM])


def hand_over_figures(figures: RunFigures) -> None:
    """Leave the run's figures in words to its note and to alerts."""
    with _never_failing("figures"):
        context: Any = get_current_context()
        context["ti"].xcom_push(key=FIGURES_KEY, value=figures.in_words)


def describe_handed_over(handed_over: Mapping[tuple[str, str], str]) -> str:
    """Return in a few words what a run came to: its figures, and what its first failed task said.

    Args:
        handed_over: what the run's tasks have left, by key and task.
    """
    figures = handed_over.get((FIGURES_KEY, "audit"))
    problems = {step: handed_over[PROBLEM_KEY, step] for step in STEPS if (PROBLEM_KEY, step) in handed_over}
    if figures:
        problems.pop("audit", None)  # the figures say what it found
    first = next((f"{step}: {problem}" for step, problem in problems.items()), None)
    return "; ".join(filter(None, [figures, first]))


def tell_asset(asset: Asset, figures: RunFigures) -> None:
    """Put the counts on the event that says that Meta's dataset has changed; no event where nothing was sent."""
    with _never_failing("asset event"):
        context: Any = get_current_context()
        if figures.mode is Mode.LIVE and figures.counts[Status.DELIVERED]:
            context["outlet_events"][asset].extra = figures.as_json()
        else:
            instance = context["ti"]
            instance.task = copy(instance.task)  # that of this try; the DAG keeps its outlet
            instance.task.outlets = []


def count_metrics(pipeline: Pipeline, figures: RunFigures) -> None:
    """Send what a live run came to to where Airflow sends its own metrics."""
    if figures.mode is not Mode.LIVE:
        return
    with _never_failing("metrics"):
        from airflow.sdk.observability import stats

        tags = {"pipeline": pipeline.name}
        for name, status in _COUNTERS.items():
            if number := figures.counts[status]:
                stats.incr(f"{METRIC_PREFIX}.{name}", number, tags=tags)
        stats.gauge(f"{METRIC_PREFIX}.delay_seconds", figures.delay.total_seconds(), tags=tags)


@contextmanager
def _never_failing(what: str) -> Iterator[None]:
    """Keep what Airflow may have against it away from the step."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, the step has done its work
        log.debug("%s could not be handed over: %s", what, type(error).__name__)
