"""Deletes what the schema `capi` no longer has to keep of a pipeline.

Request bodies are deleted after `retention_days`, a run and its part of the ledger after `ledger_days`. By then its
events are far too old for Meta, so nothing of it is needed to keep an event from being sent twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from crm_to_meta.warehouse import Connection, execute

if TYPE_CHECKING:
    from datetime import datetime

    from crm_to_meta.pipeline.settings import Pipeline

MAX_RUNS_AT_ONCE: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearance:
    """How much was deleted."""

    bodies: int
    runs: int
    transitions: int


def clear_old_records(connection: Connection, pipeline: Pipeline, *, now: datetime) -> Clearance:
    """Delete what the pipeline no longer has to keep; each run in a transaction of its own.

    Args:
        connection: to the warehouse, in autocommit mode.
        pipeline: says how long request bodies and runs are kept.
        now: the moment that ages are measured against.

    Raises:
        WarehouseError: a statement failed; what was deleted by then is gone.
    """
    scope = {"pipeline": pipeline.name}
    oldest_body = now - timedelta(days=pipeline.retention_days)
    bodies = execute(connection, "ledger/retention_clear_bodies", {**scope, "oldest": oldest_body}).rowcount
    oldest_run = {"oldest": now - timedelta(days=pipeline.ledger_days), "at_most": MAX_RUNS_AT_ONCE}
    run_keys = [key for (key,) in execute(connection, "ledger/retention_list_runs", {**scope, **oldest_run})]
    transitions = 0
    for run_key in run_keys:
        with connection.transaction():
            execute(connection, "ledger/lock_pipeline", scope)  # no run takes a transition while it is deleted
            transitions += execute(connection, "ledger/retention_delete_run", {"run_key": run_key}).rowcount
    return Clearance(bodies=bodies, runs=len(run_keys), transitions=transitions)
