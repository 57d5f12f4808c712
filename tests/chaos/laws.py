"""The laws of the design, checked from outside: source, ledger and what Meta received in, broken laws out."""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from psycopg import sql
from scenario import PERSONAL_MARK, PHONE

from crm_to_meta.models import Mode, event_id_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from crm_to_meta.warehouse import Connection

MAY_HAVE_ARRIVED = frozenset({"in_doubt", "rejected"})  # statuses of events that Meta may have, where they had doubts
SUMMED = "delivered + rejected + in_doubt + quarantined + expired + skipped + pending"
LIVE = str(Mode.LIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known at the end of a round."""

    warehouse: Connection
    pipeline: str
    received: Mapping[str, int]
    hopeless: frozenset[str]
    poisoned: frozenset[str]
    holds_doubts: bool
    oldest: datetime
    messages: list[str]
    ledger: Mapping[str, dict[str, Any]]


def read_ledger(warehouse: Connection) -> dict[str, dict[str, Any]]:
    """Return status, reason, doubts, time and run of each event of the ledger."""
    names = ("status", "reason", "doubts", "event_time", "run_key", "transition_id")
    rows = warehouse.execute(
        "SELECT event_id, status, reason, doubts, event_time, run_key, transition_id FROM capi.delivery"
    )
    return {str(event_id): dict(zip(names, row, strict=True)) for event_id, *row in rows}


def find_broken_laws(evidence: Evidence) -> list[str]:
    """Return a line for each law that does not hold."""
    return [line for check in _CHECKS for line in check(evidence)]


def _every_row_is_in_the_ledger(evidence: Evidence) -> Iterator[str]:
    """Each row of the source is in the ledger once, under its own id, and nothing else is."""
    times = Counter(
        transition_id
        for (transition_id,) in evidence.warehouse.execute("SELECT transition_id FROM crm.lead_stage_transitions")
    )
    nameless = times.pop(None, 0)
    expected = {
        event_id for transition_id, number in times.items() for event_id in _ids(evidence, transition_id, number)
    }
    named = {event_id for event_id, row in evidence.ledger.items() if row["transition_id"] is not None}
    if expected != named:
        yield f"law 1: {len(expected - named)} source rows not in the ledger, {len(named - expected)} rows of nothing"
    if (found := len(evidence.ledger) - len(named)) != nameless:
        yield f"law 1: {nameless} source rows without an id, {found} in the ledger"


def _ids(evidence: Evidence, transition_id: str, number: int) -> Iterator[str]:
    first = event_id_of(evidence.pipeline, transition_id)
    yield str(first)
    for occurrence in range(2, number + 1):
        yield str(UUID(bytes=hashlib.sha256(first.bytes + str(occurrence).encode()).digest()[:16]))


def _nothing_is_left(evidence: Evidence) -> Iterator[str]:
    """Clean runs leave nothing pending; in doubt is only what a person has to decide about, or is too old to resend."""
    for event_id, row in evidence.ledger.items():
        if row["status"] == "pending":
            yield f"law 2: {event_id} is still pending after clean runs"
        if row["status"] == "in_doubt" and not evidence.holds_doubts and row["event_time"] >= evidence.oldest:
            yield f"law 2: {event_id} is still in doubt after clean runs"


def _ledger_and_meta_agree(evidence: Evidence) -> Iterator[str]:
    """What is delivered was received; what was received is delivered, or on record as doubtful."""
    for event_id, row in evidence.ledger.items():
        if row["status"] == "delivered" and event_id not in evidence.received:
            yield f"law 3: {event_id} is delivered in the ledger, and Meta never received it"
    for event_id in evidence.received:
        known = evidence.ledger.get(event_id)
        is_told = known and (
            known["status"] == "delivered" or (known["status"] in MAY_HAVE_ARRIVED and known["doubts"])
        )
        if not is_told:
            yield f"law 3: Meta received {event_id}, and the ledger says {known}"


def _doubts_cover_duplicates(evidence: Evidence) -> Iterator[str]:
    """An event arrives at most once more than it was in doubt."""
    for event_id, times in evidence.received.items():
        doubts = evidence.ledger.get(event_id, {"doubts": 0})["doubts"]
        if times > 1 + doubts:
            yield f"law 3: {event_id} was received {times} times with {doubts} doubts"


def _runs_add_up(evidence: Evidence) -> Iterator[str]:
    """The rows of a run are with it in the ledger or were taken over, and an audited run's own counts add up."""
    rows_of = Counter(row["run_key"] for row in evidence.ledger.values())
    runs = evidence.warehouse.execute(f"SELECT run_key, mode, state, extracted, taken_over, {SUMMED} FROM capi.run")
    for run_key, mode, state, extracted, taken_over, summed in runs:
        if mode == LIVE and extracted != rows_of[run_key] + taken_over:
            yield (
                f"law 1: run {run_key} ({state}) extracted {extracted}, has {rows_of[run_key]} in the ledger, "
                f"{taken_over} taken over"
            )
        if state in ("succeeded", "failed") and not summed <= extracted <= summed + taken_over:
            yield f"law 1: run {run_key} extracted {extracted}, counted {summed}, {taken_over} taken over"
    yield from _run_end(evidence)


def _run_end(evidence: Evidence) -> Iterator[str]:
    for (run_key,) in evidence.warehouse.execute("SELECT run_key FROM capi.run WHERE state = 'running'"):
        yield f"law 2: run {run_key} is still running"


def _only_bad_events_are_rejected(evidence: Evidence) -> Iterator[str]:
    """Meta's refusal of a request blames the events at fault and no other; what is poisoned is never delivered."""
    for event_id, row in evidence.ledger.items():
        if row["status"] == "rejected" and event_id not in evidence.hopeless:
            yield f"law 4: {event_id} is rejected ({row['reason']}), and was sound"
        if row["status"] == "delivered" and event_id in evidence.poisoned:
            yield f"law 4: {event_id} is delivered, and was poisoned"


def _nothing_personal_is_left(evidence: Evidence) -> Iterator[str]:
    """No table of this project, body or message holds a personal value; staged rows are gone with their run."""
    names = [
        name for (name,) in evidence.warehouse.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'capi'")
    ]
    for name in names:
        if name.startswith(("staging_", "verdict_")):
            yield f"law 5: table {name} is left"
        rows = evidence.warehouse.execute(sql.SQL("SELECT t::text FROM capi.{} AS t").format(sql.Identifier(name)))
        if any(_is_personal(row) for (row,) in rows):
            yield f"law 5: table {name} holds a personal value"
    if any(
        _is_personal(zlib.decompress(body).decode())
        for (body,) in evidence.warehouse.execute("SELECT body FROM capi.chunk")
    ):
        yield "law 5: a body holds a personal value"
    if any(map(_is_personal, evidence.messages)):
        yield "law 5: a message holds a personal value"


def _is_personal(text: str) -> bool:
    return PERSONAL_MARK in text or PHONE in text


def _no_request_is_open(evidence: Evidence) -> Iterator[str]:
    """Each request on record has an outcome."""
    for run_key, number in evidence.warehouse.execute(
        "SELECT run_key, count(*) FROM capi.request WHERE outcome = 'sending' GROUP BY 1"
    ):
        yield f"law 2: {number} requests of run {run_key} are still `sending`"


_CHECKS: tuple[Callable[[Evidence], Iterator[str]], ...] = (
    _every_row_is_in_the_ledger,
    _nothing_is_left,
    _ledger_and_meta_agree,
    _doubts_cover_duplicates,
    _runs_add_up,
    _only_bad_events_are_rejected,
    _nothing_personal_is_left,
    _no_request_is_open,
)
