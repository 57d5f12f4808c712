"""Erase a person: remove everything that this project keeps of a lead.

A transition keeps its event id, its status and its run, and nothing of the person. So the counts of past runs stay
right, and the transition is not sent again where the CRM still has it. Requests are rows of `capi.erasure`, where the
lead's id is cleared as well once a request is carried out.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from crm_to_meta.errors import ConfigurationError
from crm_to_meta.ledger.abandoned_runs import abandon_dead_runs
from crm_to_meta.ledger.schema import migrate
from crm_to_meta.meta.lead_id import read_lead_id
from crm_to_meta.warehouse import execute, one_row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crm_to_meta.warehouse import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """A request that was carried out."""

    erasure_id: int
    transitions: int
    bodies: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasures:
    """The open requests: those that were carried out, and how many wait for which runs to end."""

    done: list[Erasure]
    waiting: int = 0
    waits_for: tuple[str, ...] = ()


def request_erasure(connection: Connection, lead_id: str) -> int:
    """Record a request to erase a lead, and return its number.

    Args:
        connection: to the warehouse, in autocommit mode.
        lead_id: Meta's id of the lead as text (see `read_lead_id`).

    Raises:
        ConfigurationError: it is not a lead id.
    """
    known_as = read_lead_id(lead_id)
    if known_as is None:
        raise ConfigurationError(
            "A lead id is 15 to 17 digits, the first not 0, as in capi.delivery.lead_id; nothing was erased."
        )
    migrate(connection)
    return int(one_row(execute(connection, "ledger/erase_insert_request", {"lead_id": known_as}))[0])


def erase_requested(connection: Connection) -> Erasures:
    """Carry out the open requests, unless a run is at work, which may have the person in memory.

    No pipeline extracts meanwhile. Runs that died are given up first, and their copies of raw rows dropped.

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
