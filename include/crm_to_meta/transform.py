"""Transform: accepted rows of a shard in, hashed events in numbered chunks out, stored exactly as they will be sent.

The only step that reads personal fields into Python. In one transaction the chunks are stored and the staged raw rows
deleted, so a shard is either still to do or done.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql
from psycopg.errors import UndefinedTable

from crm_to_meta.chunks import build_body, encode_event
from crm_to_meta.errors import StagingLostError, WarehouseError
from crm_to_meta.models import Reason, Shard, Status, staging_table_of, verdict_table_of
from crm_to_meta.pipeline import SOURCE_FIELDS, Pipeline
from crm_to_meta.user_data import build_user_data, is_matchable
from crm_to_meta.warehouse import Connection, execute, one_row, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

COLUMNS: Final = ("row_no", "event_id", "event_name", *(field for field in SOURCE_FIELDS if field != "transition_id"))
_LARGEST_AMOUNT: Final = Decimal(10) ** 15  # beyond it a double, which is what JSON readers have, loses cents
_COMPRESSION_LEVEL: Final = 1  # hashes hardly compress; the rest of an event does at any level


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformation:
    """What transform hands on for a shard."""

    events: int
    chunks: int
    held_back: int


@dataclass(frozen=True, slots=True)
class _Event:
    row_no: int
    event_id: Any
    stage: str
    payload: bytes


def transform(
    connection: Connection,
    pipeline: Pipeline,
    shard: Shard,
    *,
    crm_name: str,
    test_event_code: str | None = None,
    partner_agent: str = "",
) -> Transformation:
    """Build the chunks of a shard and delete its staged rows. Done before, it does nothing.

    Args:
        connection: to the warehouse, in autocommit mode.
        pipeline: gives chunk size, default country and the like.
        shard: the staged rows to transform.
        crm_name: what Meta shows as the source of the events.
        test_event_code: goes into every body of a test run.
        partner_agent: goes into every body where it is not empty.

    Raises:
        StagingLostError: the rows are gone: the warehouse crashed, or audit has closed the run.
    """
    with connection.transaction():
        done = execute(connection, "transform_find_shard", _scope(shard)).fetchone()
        if done:
            return Transformation(events=done[0], chunks=done[1], held_back=done[2])
        columns = _read_accepted(connection, shard)
        events, weak, fields = build_events(columns, pipeline, crm_name=crm_name)
        chunks = list(_cut(events, pipeline.delivery.chunk_size))
        first_chunk_no = (shard.first_row - 1) // pipeline.delivery.chunk_size
        for chunk_no, chunk in enumerate(chunks, start=first_chunk_no):
            payloads = [event.payload for event in chunk]
            body = build_body(payloads, test_event_code=test_event_code, partner_agent=partner_agent)
            _store_chunk(connection, shard, chunk_no, chunk, body=body)
        _hold_back(connection, shard, weak)
        execute(connection, "transform_delete_staged", _scope(shard), staging=_staging(shard))
        totals = {"accepted": len(events), "held_back": len(weak), "fields": json.dumps(fields)}
        execute(connection, "transform_record_shard", {**_scope(shard), **totals})
    return Transformation(events=len(events), chunks=len(chunks), held_back=len(weak))


def build_events(
    columns: Mapping[str, Sequence[Any]], pipeline: Pipeline, *, crm_name: str
) -> tuple[list[_Event], list[int], dict[str, Counter[str]]]:
    """Return the events of the rows, the numbers of rows that Meta could not match, and counts per field.

    Args:
        columns: the staged columns (`COLUMNS`) by name, all of one length, in the order of the events.
        pipeline: see `build_user_data`.
        crm_name: the event's `lead_event_source`.
    """
    user_data, fields = build_user_data(columns, pipeline)
    events: list[_Event] = []
    weak: list[int] = []
    rows = zip(*(columns[name] for name in _EVENT_COLUMNS), user_data, strict=True)
    for row_no, event_id, event_name, stage, event_time, value, currency, identifiers in rows:
        if not is_matchable(identifiers):
            weak.append(row_no)
            continue
        event = {
            "event_name": event_name,
            "event_time": int(event_time.timestamp()),
            "event_id": str(event_id),
            "action_source": "system_generated",
            "custom_data": {"event_source": "crm", "lead_event_source": crm_name, **_money(value, currency)},
            "user_data": identifiers,
        }
        events.append(_Event(row_no, event_id, stage, encode_event(event)))
    return events, weak, fields


_EVENT_COLUMNS: Final = ("row_no", "event_id", "event_name", "stage", "event_time", "value", "currency")


def _money(value: str | None, currency: str | None) -> dict[str, Any]:
    """Return value and currency as custom_data has them; nothing where either cannot be used."""
    if value is None or currency is None:
        return {}
    code = currency.strip().upper()
    try:
        amount = Decimal(value)
    except InvalidOperation:
        return {}
    if not amount.is_finite() or amount.copy_abs() > _LARGEST_AMOUNT:
        return {}
    if not (len(code) == 3 and code.isascii() and code.isalpha()):  # noqa: PLR2004 - ISO 4217
        return {}
    return {"value": int(amount) if amount == amount.to_integral_value() else float(amount), "currency": code}


def _read_accepted(connection: Connection, shard: Shard) -> dict[str, Sequence[Any]]:
    if _count_staged(connection, shard) != shard.last_row - shard.first_row + 1:
        raise StagingLostError(
            f"Run {shard.run_key}: the staged {shard.label} are not all there: the warehouse was restarted after a "
            "crash, or the run was closed; clear the task `extract` of this run, or let the next scheduled run take "
            "the rows over."
        )
    rows = execute(
        connection,
        "transform_read_accepted",
        _scope(shard),
        columns=sql.SQL(", ").join(map(sql.Identifier, COLUMNS)),
        staging=_staging(shard),
        verdict=_verdict(shard),
    ).fetchall()
    values: list[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * len(COLUMNS)
    return dict(zip(COLUMNS, values, strict=True))


def _count_staged(connection: Connection, shard: Shard) -> int:
    try:
        return int(one_row(execute(connection, "transform_count_staged", _scope(shard), staging=_staging(shard)))[0])
    except WarehouseError as error:
        if error.sqlstate == UndefinedTable.sqlstate:
            return 0
        raise


def _cut(events: Sequence[_Event], size: int) -> Iterator[Sequence[_Event]]:
    for start in range(0, len(events), size):
        yield events[start : start + size]


def _store_chunk(connection: Connection, shard: Shard, chunk_no: int, events: Sequence[_Event], *, body: bytes) -> None:
    execute(
        connection,
        "transform_store_chunk",
        {
            **_scope(shard),
            "chunk_no": chunk_no,
            "events": len(events),
            "event_ids": [event.event_id for event in events],
            "stages": json.dumps(Counter(event.stage for event in events)),
            "body": zlib.compress(body, _COMPRESSION_LEVEL),
            "body_sha256": hashlib.sha256(body).digest(),
        },
    )


def _hold_back(connection: Connection, shard: Shard, row_numbers: Sequence[int]) -> None:
    """Rows whose identifiers turned out to be unusable join those that validate held back."""
    if row_numbers:
        reason = {"status": Status.QUARANTINED, "reason": Reason.NO_IDENTIFIER}
        execute(
            connection,
            "transform_hold_back",
            {"row_numbers": list(row_numbers), **reason},
            staging=_staging(shard),
            verdict=_verdict(shard),
        )
        execute(connection, "transform_settle_held_back", _scope(shard), verdict=_verdict(shard))


def _scope(shard: Shard) -> dict[str, Any]:
    return {
        "run_key": shard.run_key,
        "shard_no": shard.shard_no,
        "first_row": shard.first_row,
        "last_row": shard.last_row,
    }


def _staging(shard: Shard) -> sql.Identifier:
    return table(staging_table_of(shard.run_key))


def _verdict(shard: Shard) -> sql.Identifier:
    return table(verdict_table_of(shard.run_key))
