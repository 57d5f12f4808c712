"""Read what the overview shows about a pipeline: its last days, what is open across runs, how fresh Meta's data is.

Counts, ids, names and times alone, and one snapshot of the warehouse for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from crm_to_meta.ledger.doubts import RunInDoubt, SettledDoubts, list_decisions, list_doubts
from crm_to_meta.ledger.schema import is_installed, missing_migrations
from crm_to_meta.models import Mode, Status
from crm_to_meta.report.facts import read_facts, reading_at_once
from crm_to_meta.report.headline import headline_of, window_in_words
from crm_to_meta.report.words import STATUS_ORDER
from crm_to_meta.warehouse import Connection, execute, one_row

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from crm_to_meta.pipeline.settings import Pipeline

DAYS_SHOWN: Final = 30
MAX_OPEN_RUNS: Final = 50


class Day(NamedTuple):
    """What the live runs of one day did. `last_state` is that of the newest one; None where none ran."""

    day: date
    runs: int
    last_state: str | None
    counts: Mapping[Status, int]

    @property
    def total(self) -> int:
        """Return how many stage changes have a status."""
        return sum(self.counts.values())


class OpenRun(NamedTuple):
    """A live run that failed or went silent, and that no good run made up for."""

    run_key: str
    dag_run_id: str
    state: str
    stop_reason: str | None
    quality_verdict: str | None
    window_start: datetime
    window_end: datetime
    started_at: datetime
    lease_until: datetime


class Waiting(NamedTuple):
    """Events that are still to be sent and that no run is working on.

    `beyond_lookback` of them no daily run looks back to, and `too_old` Meta takes no longer. `oldest_at` is the time of
    the oldest one that Meta still takes.
    """

    events: int
    beyond_lookback: int
    too_old: int
    oldest_at: datetime | None


class HeldBack(NamedTuple):
    """Stage changes that are held back or refused with one reason, and young enough to be sent once it is fixed."""

    status: Status
    reason: str
    rows: int


class LatestRun(NamedTuple):
    """A run by its keys, with its window and its result in a sentence."""

    run_key: str
    dag_run_id: str
    window: str
    headline: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Everything that the overview shows about a pipeline.

    `days` are the last thirty, the oldest first; `dag_runs` are the ids of those that have recorded something in them.
    """

    pipeline: Pipeline
    read_at: datetime
    days: Sequence[Day]
    latest: LatestRun | None
    preview: LatestRun | None
    newest_event_at: datetime | None
    last_success_at: datetime | None
    open_runs: Sequence[OpenRun]
    waiting: Waiting
    held_back: Sequence[HeldBack]
    doubts: Sequence[RunInDoubt]
    decisions: Sequence[SettledDoubts]
    dag_runs: Collection[str]
    lacks_migrations: bool


def read_overview(connection: Connection, pipeline: Pipeline, *, now: datetime) -> Overview | None:
    """Read the overview of a pipeline; None where no run has ever worked in this warehouse.

    Args:
        connection: to the warehouse, in autocommit mode; read only.
        pipeline: the pipeline.
        now: the moment that ages are measured against.

    Raises:
        ConfigurationError: the schema is newer than this version.
        WarehouseError: a statement failed.
    """
    with reading_at_once(connection):
        if not is_installed(connection):
            return None
        return _read(connection, pipeline, now)


def _read(connection: Connection, pipeline: Pipeline, now: datetime) -> Overview:
    scope = {"pipeline": pipeline.name}
    oldest = {"oldest": now - pipeline.delivery.max_event_age}
    last_days = {"since": now - timedelta(days=DAYS_SHOWN)}
    lookback = {"lookback_start": now - timedelta(hours=pipeline.lookback_hours)}
    newest_event_at, last_success_at = one_row(execute(connection, "report/overview_read_freshness", scope))
    by_mode = {row[2]: row for row in execute(connection, "report/overview_find_latest", scope)}
    worst = {**scope, **last_days, "now": now, "limit": MAX_OPEN_RUNS}
    return Overview(
        pipeline=pipeline,
        read_at=now,
        days=_read_days(connection, pipeline, now),
        latest=_read_latest(connection, by_mode.get(Mode.LIVE)),
        preview=_read_latest(connection, by_mode.get(Mode.PREVIEW)),
        newest_event_at=newest_event_at,
        last_success_at=last_success_at,
        open_runs=[OpenRun(*row) for row in execute(connection, "report/overview_list_open_runs", worst)],
        waiting=Waiting(
            *one_row(execute(connection, "report/overview_count_waiting", {**scope, **oldest, **lookback}))
        ),
        held_back=[
            HeldBack(Status(status), reason, rows)
            for status, reason, rows in execute(connection, "report/overview_count_held_back", {**scope, **oldest})
        ],
        doubts=list_doubts(connection, pipeline=pipeline.name) or [],
        decisions=list_decisions(connection, pipeline=pipeline.name),
        dag_runs={run_id for (run_id,) in execute(connection, "report/overview_list_dag_runs", {**scope, **last_days})},
        lacks_migrations=bool(missing_migrations(connection)),
    )


def _read_days(connection: Connection, pipeline: Pipeline, now: datetime) -> list[Day]:
    """Return one entry for each of the last days that have ended, also for those without a run."""
    today = now.astimezone(pipeline.zone).date()
    first = today - timedelta(days=DAYS_SHOWN)
    since = datetime.combine(first, datetime.min.time(), tzinfo=pipeline.zone)
    scope = {"pipeline": pipeline.name, "time_zone": pipeline.time_zone, "since": since}
    found = {
        day: Day(day, runs, state, dict(zip(STATUS_ORDER, counts, strict=True)))
        for day, runs, state, *counts in execute(connection, "report/overview_sum_days", scope)
    }
    last = max(today - timedelta(days=1), *found) if found else today - timedelta(days=1)
    shown = [last - timedelta(days=back) for back in reversed(range(DAYS_SHOWN))]
    return [found.get(day) or Day(day, 0, None, dict.fromkeys(STATUS_ORDER, 0)) for day in shown]


def _read_latest(connection: Connection, found: tuple[str, str, str, datetime] | None) -> LatestRun | None:
    if found is None:
        return None
    run_key, dag_run_id, *_ = found
    facts = read_facts(connection, run_key)
    window = window_in_words(facts.run.window_start, facts.run.window_end)
    return LatestRun(run_key, dag_run_id, window, headline_of(facts))
