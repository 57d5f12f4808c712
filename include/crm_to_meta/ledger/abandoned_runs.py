"""Gives up runs that nobody works on any more: unanswered requests become doubts, raw rows are dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crm_to_meta.models import held_back_table_of, staging_table_of
from crm_to_meta.warehouse import execute, table

if TYPE_CHECKING:
    from crm_to_meta.warehouse import Connection


def abandon_dead_runs(connection: Connection, *, pipeline: str, dag_run_id: str | None = None) -> None:
    """Give up the pipeline's runs whose lease is over, and earlier passes of a DAG run.

    Args:
        connection: to the warehouse, in a transaction that holds the pipeline's lock.
        pipeline: the pipeline's name.
        dag_run_id: the DAG run that starts anew, if one does.
    """
    identity = {"pipeline": pipeline, "dag_run_id": dag_run_id}
    abandoned = [key for (key,) in execute(connection, "ledger/abandon_runs", identity)]
    execute(connection, "ledger/record_doubts", {"run_keys": abandoned, "shard_no": None})
    for key in abandoned:
        execute(connection, "ledger/drop_table", table=table(staging_table_of(key)))
        execute(connection, "ledger/drop_table", table=table(held_back_table_of(key)))
