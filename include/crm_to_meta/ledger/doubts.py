"""Lists events whose outcome is unknown, and records what a person decides about them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from crm_to_meta.ledger.schema import is_installed, migrate, missing_migrations
from crm_to_meta.models import Reason, Status
from crm_to_meta.warehouse import execute

if TYPE_CHECKING:
    from datetime import datetime

    from crm_to_meta.warehouse import Connection


MAX_DECISIONS: Final = 20
LONGEST_NAME: Final = 200  # of whoever decided; what is longer is cut off


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledDoubts:
    """What a person decided about the events of one run."""

    run_key: str
    decision: Decision
    events: int
    decided_by: str
    decided_at: datetime


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


def list_decisions(connection: Connection, *, pipeline: str, dag_run_id: str | None = None) -> list[SettledDoubts]:
    """Return the latest decisions about a pipeline's events, of one DAG run or of all. Changes nothing."""
    if not is_installed(connection) or missing_migrations(connection):
        return []  # an older schema keeps none
    scope = {"pipeline": pipeline, "dag_run_id": dag_run_id, "limit": MAX_DECISIONS}
    return [
        SettledDoubts(
            run_key=run_key, decision=Decision(decision), events=events, decided_by=decided_by, decided_at=decided_at
        )
        for run_key, decision, events, decided_by, decided_at in execute(
            connection, "ledger/doubts_list_decisions", scope
        )
    ]


def settle_doubts(
    connection: Connection, *, pipeline: str, decision: Decision, decided_by: str, run_key: str | None = None
) -> int | None:
    """Settle events in doubt, of one run or of all that ended, and return how many there were; None as `list_doubts`.

    The decision is final: no later run and no cleared task overrides it. Events to be sent again keep their event id.
    `capi.decision` keeps who decided, and when.

    Args:
        connection: to the warehouse, in autocommit mode.
        pipeline: the pipeline's name.
        decision: what the person found out about them.
        decided_by: the person's login.
        run_key: the run whose events are settled; None for all.
    """
    if not is_installed(connection):
        return None
    migrate(connection)
    arrived = decision is Decision.ARRIVED
    outcome = {
        "status": Status.DELIVERED if arrived else Status.PENDING,
        "reason": Reason.SETTLED_BY_HAND if arrived else None,
        "decision": decision,
        "decided_by": decided_by[:LONGEST_NAME],
    }
    scope = {"pipeline": pipeline, "run_key": run_key}
    with connection.transaction():
        execute(connection, "ledger/lock_pipeline", {"pipeline": pipeline})
        per_run = execute(connection, "ledger/doubts_settle_events", {**outcome, **scope}).fetchall()
    return sum(int(events) for (events,) in per_run)
