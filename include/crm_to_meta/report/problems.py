"""Word what is open across the runs of a pipeline: what happened, in a line, and what to do about it."""

from __future__ import annotations

from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from crm_to_meta.models import Status
from crm_to_meta.reasons import explain_reason, explain_stop
from crm_to_meta.report.headline import counted, moment_in_words

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import datetime

    from crm_to_meta.report.overview import HeldBack, OpenRun, Overview, Waiting

STALE_AFTER: Final = timedelta(hours=36)  # Meta wants an upload a day; a run that is some hours late is no problem yet
LOG_REMEDY: Final = (
    "The log of its failed task in Airflow says what to fix. Then clear that task, or let the next run send what is "
    "left."
)
REFUSED_REMEDY: Final = "Its report names the rule. Fix the source, then clear the run: nothing was sent or lost."


class Part(NamedTuple):
    """One of several reasons for the same problem."""

    code: str
    rows: int
    text: str


class Problem(NamedTuple):
    """Something that a person should know or do.

    `runs` are the DAG runs that it is about, the newest first, and `parts` its reasons, the most frequent first.
    `airflow_run_id` is a DAG run that only Airflow knows.
    `weight` is "act" where events may be lost unless somebody acts, and "look" for the rest.
    """

    key: str
    weight: str
    title: str
    text: str
    runs: Sequence[OpenRun] = ()
    parts: Sequence[Part] = ()
    airflow_run_id: str = ""


class Schedule(NamedTuple):
    """What Airflow knows about a DAG. `failed_run_id` is that of its newest run that ended, if that one failed."""

    is_paused: bool
    next_run_at: datetime | None
    failed_run_id: str | None = None


def find_problems(overview: Overview, schedule: Schedule | None) -> list[Problem]:
    """Return what is open, the most urgent first. Events in doubt are in `open_doubts`."""
    return [
        *find_unrecorded(overview.dag_runs, schedule),
        *_find_failed(overview),
        *_find_silent(overview.open_runs),
        *_find_waiting(overview, schedule),
        *_find_delay(overview, schedule),
        *_find_held_back(overview.held_back),
    ]


def find_unrecorded(dag_runs: Collection[str], schedule: Schedule | None) -> Iterator[Problem]:
    """Yield that the newest run failed before it had recorded anything, such as for want of a token."""
    if schedule and schedule.failed_run_id and schedule.failed_run_id not in dag_runs:
        text = "Nothing was sent. The log of its task `extract` says why and what to do. Then clear the run."
        title = "The newest run failed before it had recorded anything"
        yield Problem("unrecorded", "act", title, text, airflow_run_id=schedule.failed_run_id)


def age_in_words(age: timedelta) -> str:
    """Return an age in days or hours."""
    hours = int(age.total_seconds() // 3600)
    if hours >= 2 * 24:
        return f"{hours // 24:,} days"
    return counted(hours, "hour", "hours") if hours else "less than an hour"


def _find_failed(overview: Overview) -> Iterator[Problem]:
    """Yield one problem for each cause, since a wrong token fails every run until it is fixed."""
    failed = sorted((run for run in overview.open_runs if run.state == "failed"), key=_cause_of)
    groups = [(cause, list(group)) for cause, group in groupby(failed, key=_cause_of)]
    for cause, group in sorted(groups, key=lambda found: found[1][0].started_at, reverse=True):
        last_day = (group[0].window_end - timedelta(seconds=1)).astimezone(overview.pipeline.zone)
        of_day = f"of {last_day.day} {last_day:%B}"
        title = f"The run {of_day} failed" if len(group) == 1 else f"{len(group):,} runs failed, the newest {of_day}"
        match cause:
            case ("stopped", stop_reason):
                why = explain_stop(stop_reason)
                yield Problem(
                    f"stopped-{stop_reason}", "act", f"{title}: {stop_reason}", f"{why.meaning} {why.remedy}", group
                )
            case ("refused", _):
                text = f"The data contract refused the batch. {REFUSED_REMEDY}"
                yield Problem("refused", "act", f"{title}: the data contract", text, group)
            case _:
                yield Problem("failed", "act", title, LOG_REMEDY, group)


def _cause_of(run: OpenRun) -> tuple[str, str]:
    if run.stop_reason:
        return "stopped", run.stop_reason
    return ("refused", "") if run.quality_verdict == "failed" else ("failed", "")


def _find_silent(runs: Sequence[OpenRun]) -> Iterator[Problem]:
    silent = [run for run in runs if run.state == "running"]
    if not silent:
        return
    since = moment_in_words(min(run.lease_until for run in silent))
    text = (
        f"It should have reported by {since}. Its worker has probably died, or waits for its next try. Nothing is "
        "lost: the next run takes over what is left. Or clear the run in Airflow."
    )
    yield Problem("silent", "look", f"{counted(len(silent), 'run gives', 'runs give')} no sign of life", text, silent)


def _find_waiting(overview: Overview, schedule: Schedule | None) -> Iterator[Problem]:
    waiting = overview.waiting
    if reachable := waiting.events - waiting.beyond_lookback - waiting.too_old:
        text = f"{_next_run(schedule)}{_deadline(overview, waiting)}"
        weight = "act" if schedule and schedule.is_paused else "look"
        yield Problem("waiting", weight, f"{counted(reachable, 'event waits', 'events wait')} to be sent", text)
    if waiting.beyond_lookback:
        title = f"{counted(waiting.beyond_lookback, 'event waits', 'events wait')} where no daily run looks"
        text = (
            f"They are older than the lookback of {overview.pipeline.lookback_hours:,} hours. Backfill their days, or "
            f"raise `lookback_hours` in the pipeline file.{_deadline(overview, waiting)}"
        )
        yield Problem("unreached", "act", title, text)
    if waiting.too_old:
        title = f"{counted(waiting.too_old, 'event', 'events')} waited too long for Meta"
        yield Problem(
            "too-old", "look", title, "The next run puts them on record as expired. They cannot be recovered."
        )


def _next_run(schedule: Schedule | None) -> str:
    if schedule is None:
        return "The next run sends them."
    if schedule.is_paused:
        return "The DAG is paused, so no scheduled run sends them: unpause it, or trigger a run."
    if schedule.next_run_at is None:
        return "The next run sends them; none is scheduled, so trigger one."
    return f"The next run sends them, on {moment_in_words(schedule.next_run_at)}."


def _deadline(overview: Overview, waiting: Waiting) -> str:
    if waiting.oldest_at is None:
        return ""
    until = moment_in_words(waiting.oldest_at + overview.pipeline.delivery.max_event_age)
    return f" Meta takes the oldest of them until {until}."


def _find_delay(overview: Overview, schedule: Schedule | None) -> Iterator[Problem]:
    last = overview.last_success_at
    if overview.latest is None or (last and overview.read_at - last <= STALE_AFTER):
        return
    text = "Meta wants an upload at least once a day. "
    if schedule and schedule.is_paused:
        text += "The DAG is paused: unpause it."
    elif overview.open_runs:
        text += "The failed runs above say why."
    else:
        text += "Check in Airflow that the DAG is scheduled and its runs are not waiting."
    ago = f"for {age_in_words(overview.read_at - last)}" if last else "yet"
    yield Problem("stale", "act", f"No run has succeeded {ago}", text)


def _find_held_back(held_back: Sequence[HeldBack]) -> Iterator[Problem]:
    """Yield one problem for what was held back and one for what Meta refused, each with its reasons."""
    for status, key, did, text in (
        (Status.QUARANTINED, "held-back", "held back", "Once fixed, they go out, while they are younger than 7 days."),
        (Status.REJECTED, "refused-by-meta", "refused by Meta", "Meta refused each alone; the others went out."),
    ):
        found = [one for one in held_back if one.status is status]
        if not found:
            continue
        rows = sum(one.rows for one in found)
        title = counted(rows, f"stage change was {did}", f"stage changes were {did}")
        texts = [(one, explain_reason(one.reason)) for one in found]
        parts = [Part(one.reason, one.rows, f"{why.meaning} {why.remedy}") for one, why in texts]
        yield Problem(key, "look", title, text, parts=parts)
