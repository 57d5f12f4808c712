"""Events whose outcome is unknown: list them, and record what a person found out about them."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

from crm_to_meta.ledger.doubts import Decision, RunInDoubt, list_doubts, settle_doubts
from crm_to_meta.warehouse import SCHEMA
from crm_to_meta_cli.airflow_lookup import open_warehouse

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from crm_to_meta.pipeline.settings import Pipeline
    from crm_to_meta_cli.terminal import Terminal


def show_doubts(terminal: Terminal, pipeline: Pipeline) -> int:
    """Print the runs that have events in doubt; always return 0: to have some, or no run yet, is no error."""
    with open_warehouse(pipeline.connections.warehouse) as connection:
        runs = list_doubts(connection, pipeline=pipeline.name)
    if runs is None:
        _print_no_run(terminal, pipeline)
        return 0
    if not runs:
        terminal.console.print(f"No event of {pipeline.name} is in doubt.")
        return 0
    terminal.console.print(_make_table(runs, max_event_age=pipeline.delivery.max_event_age))
    arrived, send = (
        terminal.spell("doubts", settle=str(decision), run="KEY") for decision in (Decision.ARRIVED, Decision.SEND)
    )
    terminal.console.print(
        "Events Manager shows whether Meta has them. If so, record them as delivered:\n"
        f"  {arrived}\n"
        "If not, let the next run send them, with the same event ids:\n"
        f"  {send}",
        soft_wrap=True,
    )
    return 0


def settle(terminal: Terminal, pipeline: Pipeline, decision: Decision, *, run_key: str | None) -> int:
    """Record a decision; return 1 where the named run has nothing in doubt, and nothing was changed."""
    with open_warehouse(pipeline.connections.warehouse) as connection:
        settled = settle_doubts(
            connection, pipeline=pipeline.name, decision=decision, decided_by=_find_login(), run_key=run_key
        )
    if settled is None:
        _print_no_run(terminal, pipeline)
        return 1 if run_key else 0
    if settled:
        outcome = {Decision.ARRIVED: "are on record as delivered", Decision.SEND: "go out with the next run"}[decision]
        terminal.console.print(f"{settled:,} events {outcome}.")
        return 0
    if run_key is None:
        terminal.console.print(f"No event of {pipeline.name} is in doubt; nothing was changed.")
        return 0
    terminal.console.print(
        f"Nothing was changed: {pipeline.name} has no such run, it is still at work, or none of its events is in "
        f"doubt. `{terminal.spell('doubts')}` lists those that have some.",
        soft_wrap=True,
    )
    return 1


def _print_no_run(terminal: Terminal, pipeline: Pipeline) -> None:
    terminal.console.print(
        f"No run has been made in the warehouse of connection `{pipeline.connections.warehouse}` yet: it has no ledger "
        f"(schema {SCHEMA}). So no event of {pipeline.name} is in doubt.",
        markup=False,
        soft_wrap=True,
    )


def _make_table(runs: Sequence[RunInDoubt], *, max_event_age: timedelta) -> Table:
    table = Table("run", title="Events whose outcome is unknown", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("events", justify="right")
    table.add_column("sent (UTC)")
    table.add_column("too old for Meta from (UTC)")
    for run in runs:
        sent = f"{_format_moment(run.first_doubted_at)} to {_format_moment(run.last_doubted_at)}"
        last_chance = _format_moment(run.oldest_event_at + max_event_age) if run.oldest_event_at else ""
        table.add_row(run.run_key, f"{run.events:,}", sent, last_chance)
    return table


def _format_moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _find_login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "command line"
