"""`make plan FROM=… TO=…`: what a backfill of these days would come to, before it is started.

Each day is a preview run of its own: the same extraction, the same rules, the same hashing, nothing sent and nothing in
the ledger. So the figures are those of the backfill, as of now.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE_HEAD
from rich.table import Table

from commands.session import Session, run_command
from crm_to_meta.audit import audit
from crm_to_meta.errors import BatchRefusedError, ConfigurationError
from crm_to_meta.extract import count_window, extract
from crm_to_meta.models import DagRunFacts, Mode, Status
from crm_to_meta.transform import transform
from crm_to_meta.validate import validate
from crm_to_meta.warehouse import execute
from crm_to_meta.window import resolve_window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from crm_to_meta.pipeline import Pipeline
    from crm_to_meta.warehouse import Connection

_MAX_DAYS: Final = 400
_FATES: Final = {  # column: status of the preview run
    "delivered": Status.PENDING,
    "expired": Status.EXPIRED,
    "skipped": Status.SKIPPED,
    "quarantined": Status.QUARANTINED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DayPlan:
    """What a backfill of one day would come to."""

    day: date
    rows: int
    finished: int
    counts: Mapping[Status, int]
    is_refused: bool = False


def plan(session: Session) -> None:
    """Print a row for each day, and their sum."""
    days = list(_days(os.environ.get("FROM", ""), os.environ.get("TO", "")))
    table = Table(
        "day", title=f"A backfill of {session.pipeline.name} would come to", title_justify="left", box=SIMPLE_HEAD
    )
    for column in ("rows", "finished or held", *_FATES):
        table.add_column(column, justify="right")
    table.add_column("")
    with session.console.status("looking ..."):
        plans = [plan_day(session.warehouse, session.pipeline, day) for day in days]
    for day_plan in plans:
        note = "refused as a batch: see the report of validate" if day_plan.is_refused else ""
        table.add_row(day_plan.day.isoformat(), *_cells([day_plan]), note)
    table.add_section()
    table.add_row("total", *_cells(plans), style="bold")
    session.console.print(table)
    session.console.print(
        "Nothing was sent. Finished or held: an earlier run settled them, or a run at work has them.\n"
        "Start it in Airflow's UI (Trigger > Backfill), or with\n"
        f"airflow backfill create --dag-id {session.pipeline.dag_id} --from-date {days[0]} --to-date {days[-1]}"
    )


def plan_day(connection: Connection, pipeline: Pipeline, day: date) -> DayPlan:
    """Preview the run of one day, through the steps that a backfill would take.

    Raises:
        ConfigurationError: the day has not ended yet, or the source is not as the pipeline file says.
        WarehouseError: a statement failed.
    """
    now = datetime.now(UTC)
    window = resolve_window(
        pipeline, run_type="manual", interval_start=None, interval_end=None, run_after=now, picked_day=day.isoformat()
    )
    facts = DagRunFacts(dag_run_id=f"plan__{now.isoformat()}", run_type="manual", mode=Mode.PREVIEW, window=window)
    rows = count_window(connection, pipeline, window)
    extraction = extract(connection, pipeline, facts)
    is_refused = False
    try:
        for shard in validate(connection, pipeline, run_key=extraction.run_key).shards:
            transform(connection, pipeline, shard, crm_name=pipeline.name)
    except BatchRefusedError:
        is_refused = True
    counts = audit(connection, pipeline, run_key=extraction.run_key).counts
    execute(connection, "plan_clear_bodies", {"run_key": extraction.run_key})  # the counts are all that is wanted
    return DayPlan(day=day, rows=rows, finished=rows - extraction.staged, counts=counts, is_refused=is_refused)


def _days(first: str, last: str) -> Iterator[date]:
    start = end = None
    with suppress(ValueError):
        start, end = date.fromisoformat(first), date.fromisoformat(last or first)
    if start is None or end is None or end < start or (end - start).days >= _MAX_DAYS:
        raise ConfigurationError(
            f"Say which days, at most {_MAX_DAYS}: `make plan FROM=2026-03-01 TO=2026-03-07` (TO may be left out)."
        )
    for number in range((end - start).days + 1):
        yield start + timedelta(days=number)


def _cells(plans: list[DayPlan]) -> list[str]:
    numbers = [
        sum(day_plan.rows for day_plan in plans),
        sum(day_plan.finished for day_plan in plans),
        *(sum(day_plan.counts[status] for day_plan in plans) for status in _FATES.values()),
    ]
    return [f"{number:,}" if number else "·" for number in numbers]


if __name__ == "__main__":
    run_command(plan)
