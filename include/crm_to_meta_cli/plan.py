"""Plan: what a backfill would come to, day by day, before it is started.

Each day is a dry run of its own: the same extraction, the same rules, the same hashing, nothing sent and nothing in the
ledger. So the figures are those of the backfill, as of now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE_HEAD
from rich.table import Table

from crm_to_meta.extract.step import count_window
from crm_to_meta.models import Status
from crm_to_meta.warehouse import execute
from crm_to_meta_cli.airflow_lookup import open_warehouse
from crm_to_meta_cli.dry_run import dry_run, find_window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from crm_to_meta.models import Window
    from crm_to_meta.pipeline.settings import Pipeline
    from crm_to_meta.warehouse import Connection
    from crm_to_meta_cli.terminal import Terminal

_FATES: Final = {  # column: status of the dry run
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
    is_refused: bool


def plan(terminal: Terminal, pipeline: Pipeline, days: Sequence[date]) -> int:
    """Print a row for each day, and their sum; return 1 where a day would be refused as a batch."""
    windows = [find_window(pipeline, day) for day in days]
    table = Table("day", title=f"A backfill of {pipeline.name} would come to", title_justify="left", box=SIMPLE_HEAD)
    for column in ("rows", "finished or held", *_FATES):
        table.add_column(column, justify="right")
    table.add_column("")
    with terminal.console.status("looking ..."), open_warehouse(pipeline.connections.warehouse) as connection:
        plans = [_plan_day(connection, pipeline, day, window) for day, window in zip(days, windows, strict=True)]
    for day_plan in plans:
        note = "refused as a batch" if day_plan.is_refused else ""
        table.add_row(day_plan.day.isoformat(), *_cells([day_plan]), note)
    table.add_section()
    table.add_row("total", *_cells(plans), style="bold")
    terminal.console.print(table)
    terminal.console.print(
        "Nothing was sent. Finished or held: an earlier run settled them, or a run at work has them.\n"
        "Start it in Airflow's UI (Trigger > Backfill), or with\n"
        f"airflow backfill create --dag-id {pipeline.dag_id} --from-date {days[0]} --to-date {days[-1]}",
        soft_wrap=True,
    )
    if refused := [day_plan.day for day_plan in plans if day_plan.is_refused]:
        example = terminal.spell("preview", date=refused[0].isoformat())
        terminal.console.print(f"`{example}` says why a day would be refused.", soft_wrap=True)
    return 1 if refused else 0


def _plan_day(connection: Connection, pipeline: Pipeline, day: date, window: Window) -> DayPlan:
    """Make a dry run of one day, and keep its counts alone."""
    rows = count_window(connection, pipeline, window)
    # The source's name changes no count, so a plan needs no connection to Meta.
    run = dry_run(connection, pipeline, window, command="plan", crm_name=pipeline.name)
    execute(connection, "ledger/plan_clear_bodies", {"run_key": run.run_key})
    return DayPlan(
        day=day, rows=rows, finished=rows - run.staged, counts=run.counts, is_refused=run.refusal is not None
    )


def _cells(plans: Sequence[DayPlan]) -> list[str]:
    numbers = [
        sum(day_plan.rows for day_plan in plans),
        sum(day_plan.finished for day_plan in plans),
        *(sum(day_plan.counts[status] for day_plan in plans) for status in _FATES.values()),
    ]
    return [f"{number:,}" if number else "·" for number in numbers]
