"""Forget a person, in everything that this project keeps in its warehouses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crm_to_meta.ledger.erasure import erase_requested, request_erasure
from crm_to_meta_cli.airflow_lookup import open_warehouse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crm_to_meta.warehouse import Connection
    from crm_to_meta_cli.terminal import Terminal


def erase(terminal: Terminal, warehouses: Sequence[str], lead_id: str) -> int:
    """Put the lead on record in each warehouse, and carry out all open requests; return 1 where one has to wait."""
    is_done = True
    for connection_id in warehouses:
        with open_warehouse(connection_id) as connection:
            is_done = _erase_in(terminal, connection_id, connection, lead_id) and is_done
    if not is_done:
        return 1
    terminal.console.print("Not erased here: your CRM, backups of the warehouse, and what Meta has received.")
    return 0


def _erase_in(terminal: Terminal, connection_id: str, connection: Connection, lead_id: str) -> bool:
    number = request_erasure(connection, lead_id)
    erasures = erase_requested(connection)
    if erasures.waits_for:
        terminal.console.print(
            f"Warehouse {connection_id}: request {number} is on record, but nothing is erased yet: "
            f"{', '.join(erasures.waits_for)} is at work and may have the person in memory. Repeat the command when "
            "it has ended, or leave it to the DAG crm_to_meta_erase.",
            markup=False,
            soft_wrap=True,
        )
        return False
    for erasure in erasures.done:
        terminal.console.print(
            f"Warehouse {connection_id}: request {erasure.erasure_id} is done. Transitions that no longer point to the "
            f"person: {erasure.transitions:,}. Stored request bodies deleted: {erasure.bodies:,}.",
            markup=False,
            soft_wrap=True,
        )
    return True
