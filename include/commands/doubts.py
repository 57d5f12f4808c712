"""`make doubts`: events whose outcome is unknown; with SETTLE=arrived or SETTLE=send (and RUN=…) a decision on them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

from commands.session import run_command
from crm_to_meta.doubts import Decision, RunInDoubt, list_doubts, settle_doubts
from crm_to_meta.errors import ConfigurationError

if TYPE_CHECKING:
    from datetime import datetime

    from commands.session import Session


def show_or_settle(session: Session) -> None:
    """List the doubts, or settle them where a decision is given."""
    if not (word := os.environ.get("SETTLE", "")):
        _show(session, list_doubts(session.warehouse, pipeline=session.pipeline.name))
        return
    try:
        decision = Decision(word)
    except ValueError:
        raise ConfigurationError(f"SETTLE must be one of {', '.join(Decision)}.") from None
    run_key = os.environ.get("RUN") or None
    settled = settle_doubts(session.warehouse, pipeline=session.pipeline.name, decision=decision, run_key=run_key)
    if not settled:
        session.console.print(
            "Nothing is in doubt there: no such run, or it is still at work. `make doubts` lists them."
        )
        return
    outcome = {Decision.ARRIVED: "are on record as delivered", Decision.SEND: "go out with the next run"}[decision]
    session.console.print(f"{settled:,} events {outcome}.")


def _show(session: Session, runs: list[RunInDoubt]) -> None:
    if not runs:
        session.console.print(f"No event of {session.pipeline.name} is in doubt.")
        return
    table = Table("run", title="Events whose outcome is unknown", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("events", justify="right")
    table.add_column("sent (UTC)")
    table.add_column("too old for Meta from (UTC)")
    for run in runs:
        sent = f"{_moment(run.first_doubted_at)} to {_moment(run.last_doubted_at)}"
        last_chance = run.oldest_event_at and run.oldest_event_at + session.pipeline.delivery.max_event_age
        table.add_row(run.run_key, f"{run.events:,}", sent, _moment(last_chance) if last_chance else "")
    session.console.print(table)
    session.console.print(
        "Whether Meta has them is seen in Events Manager. `make doubts SETTLE=arrived RUN=…` puts them on record as\n"
        "delivered, `make doubts SETTLE=send RUN=…` lets the next run send them (with the same event id)."
    )


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


if __name__ == "__main__":
    run_command(show_or_settle)
