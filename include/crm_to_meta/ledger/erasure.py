"""Erasure: a lead's id in, everything that this project keeps of the person gone.

What is left of a transition is a row without the person: its event id, its status and the run it counts for. So the
counts of past runs stay right, and the transition is not sent again where the CRM still has it. Requests stand in
`capi.erasure`, which forgets the lead's id as well once it is done.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from crm_to_meta.errors import ConfigurationError
from crm_to_meta.ledger.abandoned_runs import abandon_dead_runs
from crm_to_meta.ledger.schema import migrate
from crm_to_meta.warehouse import execute, one_row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crm_to_meta.warehouse import Connection

_LEAD_ID_LENGTHS: Final = range(15, 18)


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """A request that was carried out."""

    erasure_id: int
    transitions: int
    bodies: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasures:
    """What became of the open requests: carried out, or waiting for runs to end."""

    done: list[Erasure]
    waiting: int = 0
    waits_for: tuple[str, ...] = ()


def request_erasure(connection: Connection, lead_id: str) -> int:
    """Put on record that a lead is to be forgotten, and return the request's number.

    Args:
        connection: to the warehouse, in autocommit mode.
        lead_id: Meta's id of the lead, 15 to 17 digits; the `l:` of Meta's exports is stripped.

    Raises:
        ConfigurationError: that is no lead id.
    """
    digits = lead_id.strip().removeprefix("l:").strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) in _LEAD_ID_LENGTHS):
        raise ConfigurationError("A lead id is 15 to 17 digits, as in capi.delivery.lead_id; nothing was erased.")
    migrate(connection)
    return int(one_row(execute(connection, "ledger/erase_insert_request", {"lead_id": int(digits)}))[0])


def erase_requested(connection: Connection) -> Erasures:
    """Carry out the open requests, unless runs are at work, which may have the person in memory.

    All pipelines' extractions wait meanwhile. A run that died is given up here, with its copy of raw rows.

    Args:
        connection: to the warehouse, in autocommit mode.

    Raises:
        WarehouseError: a statement failed; nothing was changed.
    """
    migrate(connection)
    with connection.transaction():
        open_requests = execute(connection, "ledger/erase_list_requests").fetchall()
        if not open_requests:
            return Erasures(done=[])
        for (pipeline,) in execute(connection, "ledger/erase_list_pipelines").fetchall():
            execute(connection, "ledger/lock_pipeline", {"pipeline": pipeline})
            abandon_dead_runs(connection, pipeline=pipeline)
        running = tuple(run_key for (run_key,) in execute(connection, "ledger/erase_list_running"))
        if running:
            return Erasures(done=[], waiting=len(open_requests), waits_for=running)
        event_ids = _find_events(connection, [lead_id for _, lead_id in open_requests])
        return Erasures(done=[_erase(connection, number, event_ids[lead_id]) for number, lead_id in open_requests])


def _find_events(connection: Connection, lead_ids: Sequence[int]) -> Mapping[int, Sequence[UUID]]:
    """Return the events of each lead. The ledger has no index by lead: it is read once for all requests."""
    event_ids = defaultdict[int, list[UUID]](list)
    for lead_id, event_id in execute(connection, "ledger/erase_find_events", {"lead_ids": lead_ids}):
        event_ids[lead_id].append(event_id)
    return event_ids


def _erase(connection: Connection, erasure_id: int, event_ids: Sequence[UUID]) -> Erasure:
    bodies = execute(connection, "ledger/erase_clear_bodies", {"event_ids": event_ids}).rowcount
    transitions = execute(connection, "ledger/erase_clear_transitions", {"event_ids": event_ids}).rowcount
    erasure = Erasure(erasure_id=erasure_id, transitions=transitions, bodies=bodies)
    counts = {"erasure_id": erasure_id, "transitions": transitions, "bodies": bodies}
    execute(connection, "ledger/erase_close_request", counts)
    return erasure
