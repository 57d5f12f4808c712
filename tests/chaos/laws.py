"""Check the laws of the design from outside: compare the source, the ledger and what Meta received."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from crm import PERSONAL_MARK, PHONE, judge
from psycopg import sql

from crm_to_meta.meta.answers import SUBCODE_TOO_OLD
from crm_to_meta.models import Mode, event_id_of, held_back_table_of, staging_table_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from crm import Crm, Expectation, Row

    from crm_to_meta.pipeline.settings import Pipeline
    from crm_to_meta.warehouse import Connection

MAY_HAVE_ARRIVED = frozenset({"in_doubt", "rejected"})  # statuses of events that Meta may have, if they were in doubt
SUMMED = "delivered + rejected + in_doubt + quarantined + expired + skipped + pending"
LIVE = str(Mode.LIVE)
OPEN = frozenset({"pending", "in_doubt"})
_LEDGER = (
    "pipeline",
    "status",
    "reason",
    "doubts",
    "event_time",
    "run_key",
    "transition_id",
    "event_name",
    "updated_at",
)

Ledger = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known about one pipeline at the end of a round."""

    warehouse: Connection
    crm: Crm
    pipeline: Pipeline  # at the end of the round
    versions: Sequence[Pipeline]  # all versions of its file
    received: Mapping[str, list[dict[str, Any]]]  # all live events that Meta accepted, by event id
    hopeless: frozenset[str]
    poisoned: Mapping[str, int]  # event id to the subcode that Meta answers
    moments: Sequence[datetime]  # start and end of the round, by its own clock
    messages: list[str]
    ledger: Mapping[str, dict[str, Any]]  # the rows of this pipeline

    @property
    def own_received(self) -> dict[str, list[dict[str, Any]]]:
        """Return the events of this pipeline that Meta received."""
        return {event_id: events for event_id, events in self.received.items() if event_id in self.ledger}


def read_ledger(warehouse: Connection) -> Ledger:
    """Return the rows of the ledger by event id."""
    columns = sql.SQL(", ").join(map(sql.Identifier, _LEDGER))
    rows = warehouse.execute(sql.SQL("SELECT event_id, {} FROM capi.delivery").format(columns))
    return {str(event_id): dict(zip(_LEDGER, row, strict=True)) for event_id, *row in rows}


# During a round -------------------------------------------------------------------------------------------------------


def find_broken_meanwhile(warehouse: Connection, before: Ledger, after: Ledger, *, was_dry: bool) -> list[str]:
    """Return what is wrong while no worker is running: these laws hold during a round, not only at its end."""
    return [*_runs_have_their_rows(warehouse), *_changes(before, after, was_dry=was_dry), *_left_tables(warehouse)]


def _changes(before: Ledger, after: Ledger, *, was_dry: bool) -> Iterator[str]:
    for event_id, row in before.items():
        now = after.get(event_id)
        if now is None:
            yield f"law 1: {event_id} was {row['status']} and is no longer in the ledger"
        elif row["status"] == "delivered" and now["status"] != "delivered":
            yield f"law 3: {event_id} was delivered and is {now['status']} now"
        elif was_dry and now != row and now["status"] != "in_doubt":  # which the death of another run can cause
            yield f"ledger: a preview or test run made {row} {now}"
    if was_dry and (new := after.keys() - before.keys()):
        yield f"ledger: a preview or test run added {len(new)} rows"


def find_early_ends(warehouse: Connection, before: Ledger, after: Ledger, *, since: datetime) -> Iterator[str]:
    """Yield live runs that succeeded although events of their window were open with other runs all the time."""
    stuck = [row for event_id, row in after.items() if row["status"] in OPEN and before.get(event_id) == row]
    query = """
        SELECT run_key, pipeline, window_start, window_end FROM capi.run
        WHERE mode = 'live' AND state = 'succeeded' AND finished_at > %s
    """
    for run_key, pipeline, start, end in warehouse.execute(query, [since]):
        elsewhere = Counter(
            row["run_key"]
            for row in stuck
            if row["pipeline"] == pipeline and row["run_key"] != run_key and row["event_time"]
            if start <= row["event_time"] < end
        )
        if elsewhere:
            yield f"run {run_key} succeeded, and of its window open with others are {dict(elsewhere)}"


def _runs_have_their_rows(warehouse: Connection) -> Iterator[str]:
    """Each row that a live run extracted is in the ledger under that run, or was taken over."""
    query = """
        SELECT run_key, state, extracted, taken_over,
            (SELECT count(*) FROM capi.delivery AS known WHERE known.run_key = run.run_key)
        FROM capi.run WHERE mode = 'live'
    """
    for run_key, state, extracted, taken_over, rows in warehouse.execute(query):
        if extracted != rows + taken_over:
            has = f"has {rows} in the ledger, {taken_over} taken over"
            yield f"law 1: run {run_key} ({state}) extracted {extracted}, {has}"


def _left_tables(warehouse: Connection) -> Iterator[str]:
    """Only running runs have tables of their own."""
    running = [key for (key,) in warehouse.execute("SELECT run_key FROM capi.run WHERE state = 'running'")]
    wanted = {table for key in running for table in (staging_table_of(key), held_back_table_of(key))}
    query = "SELECT tablename FROM pg_tables WHERE schemaname = 'capi' AND tablename ~ '^(staging|held_back)_'"
    for (name,) in warehouse.execute(query):
        if name not in wanted:
            yield f"law 5: table {name} is left, and its run is not at work"


# At the end -----------------------------------------------------------------------------------------------------------


def find_broken_laws(evidence: Evidence) -> list[str]:
    """Return a line for each law that does not hold for a pipeline."""
    return [f"{evidence.pipeline.name}: {line}" for check in _CHECKS for line in check(evidence)]


def _every_row_is_in_the_ledger(evidence: Evidence) -> Iterator[str]:
    """Each row of the source is in the ledger once, under its own id, and no other row is."""
    times = Counter(row["transition_id"] for row in evidence.crm.rows)
    nameless = times.pop(None, 0)
    expected = {
        event_id for transition_id, number in times.items() for event_id in _ids(evidence, transition_id, number)
    }
    named = {event_id for event_id, row in evidence.ledger.items() if row["transition_id"] is not None}
    if expected != named:
        unknown = f"{len(named - expected)} ledger rows not in the source"
        yield f"law 1: {len(expected - named)} source rows not in the ledger, {unknown}"
    # More are fine: the id of such a row depends on its content, which may have changed.
    if (found := len(evidence.ledger) - len(named)) < nameless:
        yield f"law 1: {nameless} source rows without an id, {found} in the ledger"


def _ids(evidence: Evidence, transition_id: str, number: int) -> Iterator[str]:
    first = event_id_of(evidence.pipeline.name, transition_id)
    yield str(first)
    for occurrence in range(2, number + 1):
        yield str(UUID(bytes=hashlib.sha256(first.bytes + str(occurrence).encode()).digest()[:16]))


def _nothing_is_pending(evidence: Evidence) -> Iterator[str]:
    """Clean runs leave nothing pending."""
    for event_id, row in evidence.ledger.items():
        if row["status"] == "pending":
            yield f"law 2: {event_id} ({row['transition_id']}) is still pending after clean runs"


def _each_row_has_its_status(evidence: Evidence) -> Iterator[str]:
    """Each row ends as `judge` says: delivered if it is valid, otherwise with the expected status and reason."""
    times = Counter(row["transition_id"] for row in evidence.crm.rows)
    history = evidence.crm.history()
    for row in evidence.crm.rows:
        transition_id = row["transition_id"]
        if transition_id is None or times[transition_id] > 1:
            continue
        event_id = str(event_id_of(evidence.pipeline.name, transition_id))
        known = evidence.ledger.get(event_id)
        if known and (wrong := _find_wrong_status(evidence, event_id, known, history[transition_id])):
            yield f"law 1: {event_id} ({transition_id}) is {known['status']}, {known['reason']}: {wrong}"


def _find_wrong_status(evidence: Evidence, event_id: str, known: Mapping[str, Any], said: Sequence[Row]) -> str | None:
    """Return what is wrong with the status of an event. A row may have become too old during the round."""
    expected = {judge(said[-1], evidence.pipeline, moment) for moment in evidence.moments}
    status, reason = known["status"], known["reason"]
    match status:
        case "delivered":
            was_valid = any(
                judge(row, version, moment) is None
                for row in said
                for version in evidence.versions
                for moment in evidence.moments
            )
            return None if was_valid else f"was never valid, but {expected}"
        case "in_doubt":
            waits = evidence.pipeline.delivery.on_in_doubt == "hold" or expected != {None}
            return None if waits and known["doubts"] else "nothing keeps it from being sent again"
        case "rejected":
            return None if None in expected and event_id in evidence.hopeless else f"should be {expected}"
        case "expired" if _is_too_old_for_meta(evidence, event_id, known, expected):
            return None
        case "pending":
            return None  # _nothing_is_pending checks these
    return None if (status, reason) in expected else f"should be {expected}"


def _is_too_old_for_meta(
    evidence: Evidence, event_id: str, known: Mapping[str, Any], expected: Collection[Expectation | None]
) -> bool:
    """Say whether Meta found a valid event too old, or the event became too old for any window."""
    is_found_so = evidence.poisoned.get(event_id) == SUBCODE_TOO_OLD and None in expected
    oldest: datetime = evidence.moments[-1] - evidence.pipeline.delivery.max_event_age
    return is_found_so or bool(known["event_time"] < oldest)


def _ledger_and_meta_agree(evidence: Evidence) -> Iterator[str]:
    """Delivered events were received. Received events are delivered, or were in doubt."""
    for event_id, row in evidence.ledger.items():
        if row["status"] == "delivered" and event_id not in evidence.received:
            yield f"law 3: {event_id} is delivered in the ledger, and Meta never received it"
    for event_id in evidence.own_received:
        known = evidence.ledger[event_id]
        if known["status"] != "delivered" and not (known["status"] in MAY_HAVE_ARRIVED and known["doubts"]):
            yield f"law 3: Meta received {event_id}, and the ledger says {known}"


def _doubts_cover_duplicates(evidence: Evidence) -> Iterator[str]:
    """An event is received at most once more than it was in doubt."""
    for event_id, events in evidence.own_received.items():
        doubts = evidence.ledger[event_id]["doubts"]
        if len(events) > 1 + doubts:
            yield f"law 3: {event_id} was received {len(events)} times with {doubts} doubts"


def _one_of_repeated_ids_is_sent(evidence: Evidence) -> Iterator[str]:
    """Of the rows that share a transition id, only the first is ever sent."""
    for event_id in evidence.own_received:
        transition_id = evidence.ledger[event_id]["transition_id"]
        if transition_id is None or event_id != str(event_id_of(evidence.pipeline.name, transition_id)):
            yield f"law 3: {event_id} was sent, and repeats the id of another row ({transition_id})"


def _what_arrived_is_what_the_crm_said(evidence: Evidence) -> Iterator[str]:
    """Each time, lead id and stage that was sent was in the source at some time; none is invented or changed."""
    history = evidence.crm.history()
    for event_id, events in evidence.own_received.items():
        said = history.get(evidence.ledger[event_id]["transition_id"], [])
        times = {int(row["event_time"].timestamp()) for row in said if isinstance(row["event_time"], datetime)}
        leads = {None, *(row["lead_id"] for row in said)}
        names = {version.stages.get((row["stage"] or "").strip()) for row in said for version in evidence.versions}
        for event in events:
            lead_id = event["user_data"].get("lead_id")
            if event["event_time"] not in times:
                moment = datetime.fromtimestamp(event["event_time"], UTC)
                yield f"law 8: {event_id} was sent with the time {moment}, which the source never had"
            if (None if lead_id is None else str(lead_id)) not in leads:
                yield f"law 6: {event_id} was sent with a lead id that the source never had"
            if event["event_name"] not in names:
                yield f"law 8: {event_id} was sent as {event['event_name']}, which the source never was"


def _runs_add_up(evidence: Evidence) -> Iterator[str]:
    """The counts of an audited run add up, and no run is left running."""
    query = f"SELECT run_key, state, extracted, taken_over, {SUMMED} FROM capi.run WHERE pipeline = %s"
    for run_key, state, extracted, taken_over, summed in evidence.warehouse.execute(query, [evidence.pipeline.name]):
        if state == "running":
            yield f"law 2: run {run_key} is still running"
        if state in ("succeeded", "failed") and not summed <= extracted <= summed + taken_over:
            yield f"law 1: run {run_key} extracted {extracted}, counted {summed}, {taken_over} taken over"


def _only_bad_events_are_rejected(evidence: Evidence) -> Iterator[str]:
    """Only events at fault are rejected, and poisoned events are never delivered."""
    for event_id, row in evidence.ledger.items():
        if row["status"] == "rejected" and event_id not in evidence.hopeless:
            yield f"law 4: {event_id} is rejected ({row['reason']}), and was valid"
        if row["status"] == "delivered" and event_id in evidence.poisoned:
            yield f"law 4: {event_id} is delivered, and was poisoned"


def _nothing_personal_is_left(evidence: Evidence) -> Iterator[str]:
    """No table of this project, body, message or request contains a personal value."""
    query = "SELECT tablename FROM pg_tables WHERE schemaname = 'capi'"
    for (name,) in evidence.warehouse.execute(query).fetchall():
        rows = evidence.warehouse.execute(sql.SQL("SELECT t::text FROM capi.{} AS t").format(sql.Identifier(name)))
        if any(_is_personal(row) for (row,) in rows):
            yield f"law 5: table {name} contains a personal value"
    bodies = evidence.warehouse.execute("SELECT body FROM capi.chunk WHERE body IS NOT NULL")
    if any(_is_personal(zlib.decompress(body).decode()) for (body,) in bodies):
        yield "law 5: a body contains a personal value"
    if any(map(_is_personal, evidence.messages)):
        yield "law 5: a message contains a personal value"
    if any(_is_personal(json.dumps(events)) for events in evidence.received.values()):
        yield "law 5: Meta received a personal value"


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
    _nothing_is_pending,
    _each_row_has_its_status,
    _ledger_and_meta_agree,
    _doubts_cover_duplicates,
    _one_of_repeated_ids_is_sent,
    _what_arrived_is_what_the_crm_said,
    _runs_add_up,
    _only_bad_events_are_rejected,
    _nothing_personal_is_left,
    _no_request_is_open,
)
