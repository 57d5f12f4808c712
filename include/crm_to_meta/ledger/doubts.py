"""Lists events whose outcome is unknown, and records what a person decides about them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from crm_to_meta.ledger.schema import is_installed, migrate
from crm_to_meta.models import Reason, Status
from crm_to_meta.warehouse import execute

if TYPE_CHECKING:
    from datetime import datetime

    from crm_to_meta.warehouse import Connection


class Decision(StrEnum):
    """What a person found out, in Events Manager or from Meta's support."""

    ARRIVED = "arrived"  # Meta has them: delivered
    SEND = "send"  # Meta has not, or a duplicate does no harm: the next run sends them


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInDoubt:
    """Events of one run that are in doubt; Meta takes no event that is older than seven days."""

    run_key: str
    events: int
    oldest_event_at: datetime | None
    first_doubted_at: datetime
    last_doubted_at: datetime


def list_doubts(connection: Connection, *, pipeline: str) -> list[RunInDoubt] | None:
    """Return the runs of a pipeline that ended and have events in doubt, the oldest doubt first. Changes nothing.

    None where no run has been made yet: there is no schema `capi`.
    """
    if not is_installed(connection):
        return None
    return [
        RunInDoubt(run_key=run_key, events=events, oldest_event_at=oldest, first_doubted_at=first, last_doubted_at=last)
        for run_key, events, oldest, first, last in execute(
            connection, "ledger/doubts_list_runs", {"pipeline": pipeline}
        )
    ]


def settle_doubts(
    connection: Connection, *, pipeline: str, decision: Decision, run_key: str | None = None
) -> int | None:
    """Settle events in doubt, of one run or of all that ended, and return how many there were; None as `list_doubts`.

    The decision is final: no later run and no cleared task overrides it. Events to be sent again keep their event id.

    Args:
        connection: to the warehouse, in autocommit mode.
        pipeline: the pipeline's name.
        decision: what the person found out about them.
        run_key: the run whose events are settled; None for all.
    """
    if not is_installed(connection):
        return None
    migrate(connection)
    arrived = decision is Decision.ARRIVED
    outcome = {
        "status": Status.DELIVERED if arrived else Status.PENDING,
        "reason": Reason.SETTLED_BY_HAND if arrived else None,
    }
    with connection.transaction():
        execute(connection, "ledger/lock_pipeline", {"pipeline": pipeline})
        return execute(
            connection, "ledger/doubts_settle_events", {**outcome, "pipeline": pipeline, "run_key": run_key}
        ).rowcount
