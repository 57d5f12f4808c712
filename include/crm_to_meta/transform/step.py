"""Transform: turn the accepted rows of a shard into hashed events, stored in chunks exactly as they will be sent.

The only step that reads personal fields into Python. The chunks are stored and the staged raw rows deleted in one
transaction, so that a shard is either untouched or finished.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import zlib
from collections import Counter
from dataclasses import dataclass
from itertools import compress, repeat
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from crm_to_meta.errors import StagingLostError
from crm_to_meta.meta.body import build_body, write_json
from crm_to_meta.models import DropReason, Reason, Shard, Status, held_back_table_of, staging_table_of
from crm_to_meta.pipeline.settings import SOURCE_FIELDS, Pipeline
from crm_to_meta.transform.user_data import FieldCounts, build_user_data
from crm_to_meta.warehouse import Connection, execute, one_row, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

COLUMNS: Final = ("row_no", "event_id", "event_name", *(field for field in SOURCE_FIELDS if field != "transition_id"))
_WRITTEN_AS_TEXT: Final = {  # by PostgreSQL, which is faster at it than Python
    "event_id": sql.SQL("event_id::text"),
    "value": sql.SQL("trim_scale(value)::text"),  # a JSON number
    "event_time": sql.SQL("floor(extract(epoch FROM event_time))::bigint::text"),  # whole seconds, never rounded up
}
BATCH_ROWS: Final = 5_000  # put together at a time: more of them outgrow the processor's caches (docs/adr/0005)
_USER_DATA: Final = '"user_data":{'
_COMPRESSION_LEVEL: Final = 1  # hashes hardly compress; the rest of an event does at any level


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformation:
    """The result of transform for a shard."""

    events: int
    chunks: int
    held_back: int


@dataclass(frozen=True, slots=True)
class Events:
    """Events of a shard, column by column, in the order in which they will be sent.

    Attributes:
        event_ids: as text.
        stages: the CRM's own stages, for the figures.
        payloads: each event as one line of ASCII JSON.
        drops: for those of Meta's fields that were dropped from some event: each event's reason, or None.
    """

    event_ids: Sequence[str]
    stages: Sequence[str]
    payloads: Sequence[str]
    drops: Mapping[str, Sequence[str | None]]

    def __len__(self) -> int:
        return len(self.payloads)


def transform(
    connection: Connection,
    pipeline: Pipeline,
    shard: Shard,
    *,
    crm_name: str,
    test_event_code: str | None = None,
    partner_agent: str = "",
) -> Transformation:
    """Build the chunks of a shard and delete its staged rows. A shard that is finished is left alone.

    Args:
        connection: to the warehouse, in autocommit mode.
        pipeline: gives chunk size, default country and the like.
        shard: the staged rows to transform.
        crm_name: what Meta shows as the source of the events.
        test_event_code: goes into every body of a test run.
        partner_agent: goes into every body where it is not empty.

    Raises:
        StagingLostError: the rows are not all there.
    """
    with connection.transaction():
        done = execute(connection, "transform/find_shard", _scope(shard)).fetchone()
        if done:
            return Transformation(events=done[0], chunks=done[1], held_back=done[2])
        size = pipeline.delivery.chunk_size
        chunk_nos = itertools.count((shard.first_row - 1) // size)
        events, chunks, weak, fields = 0, 0, list[int](), dict[str, Counter[str]]()
        for columns in _read_accepted(connection, shard, batch_rows=max(1, BATCH_ROWS // size) * size):
            built, weak_of_batch, counts = build_events(columns, pipeline, crm_name=crm_name)
            for chunk in _cut(built, size):
                body = build_body(chunk.payloads, test_event_code=test_event_code, partner_agent=partner_agent)
                _store_chunk(connection, shard, next(chunk_nos), chunk, body=body)
                chunks += 1
            events += len(built)
            weak += weak_of_batch
            fields = {field: fields.get(field, Counter()) + counts[field] for field in counts}
        _hold_back(connection, shard, weak)
        execute(connection, "transform/delete_staged", _scope(shard), staging=_staging(shard))
        totals = {"accepted": events, "held_back": len(weak), "fields": json.dumps(fields)}
        execute(connection, "transform/record_shard", {**_scope(shard), **totals})
    return Transformation(events=events, chunks=chunks, held_back=len(weak))


def build_events(
    columns: Mapping[str, Sequence[Any]], pipeline: Pipeline, *, crm_name: str
) -> tuple[Events, list[int], FieldCounts]:
    """Return the events of the rows, the numbers of rows that Meta could not match, and counts per field.

    Args:
        columns: the staged columns (`COLUMNS`) by name, all of one length, in the order of the events: `event_id`,
            `event_time` (Unix seconds) and `value` (a JSON number) as text, all others as they are staged.
        pipeline: see `build_user_data`; also gives the data processing options.
        crm_name: the event's `lead_event_source`.
    """
    user_data = build_user_data(columns, pipeline)
    payloads = _write_events(columns, user_data.members, pipeline, crm_name)
    event_ids, stages, drops, weak = columns["event_id"], columns["stage"], user_data.drops, list[int]()
    if not all(kept := user_data.is_matchable):
        event_ids, stages, payloads = (list(compress(values, kept)) for values in (event_ids, stages, payloads))
        drops = {field: list(compress(reasons, kept)) for field, reasons in drops.items()}
        weak = [row_no for row_no, is_kept in zip(columns["row_no"], kept, strict=True) if not is_kept]
    return Events(event_ids, stages, payloads, drops), weak, user_data.fields


def _write_events(
    columns: Mapping[str, Sequence[Any]], user_data: Sequence[Sequence[str]], pipeline: Pipeline, crm_name: str
) -> list[str]:
    """Join each row's event from its pieces. Pieces that many rows share are written once."""
    names = {name: f'{{"event_name":{json.dumps(name)},"event_time":' for name in set(columns["event_name"])}
    options = "".join(
        f'"{name}":{write_json(value)},' for name, value in pipeline.data_processing_options.members.items()
    )
    amounts = {
        amount: f'","action_source":"system_generated",{options}"custom_data":{_write_custom_data(*amount, crm_name)},'
        f"{_USER_DATA}"
        for amount in set(zip(columns["value"], columns["currency"], strict=True))
    }
    rows = len(columns["event_id"])
    pieces = (
        map(names.__getitem__, columns["event_name"]),
        columns["event_time"],
        repeat(',"event_id":"', rows),
        columns["event_id"],
        map(amounts.__getitem__, zip(columns["value"], columns["currency"], strict=True)),
        *user_data,
        repeat("}}", rows),
    )
    events = map("".join, zip(*pieces, strict=True))
    first_members = user_data[0]
    if "" not in first_members:
        return list(events)
    return [
        event if first else event.replace(f"{_USER_DATA},", _USER_DATA, 1)  # JSON strings hold no quote that is bare
        for event, first in zip(events, first_members, strict=True)
    ]


def _write_custom_data(value: str | None, currency: str | None, crm_name: str) -> str:
    money = {"value": json.loads(value), "currency": currency} if value and currency else {}
    return write_json({"event_source": "crm", "lead_event_source": crm_name, **money})


def _read_accepted(connection: Connection, shard: Shard, *, batch_rows: int) -> Iterator[dict[str, Sequence[Any]]]:
    """Yield the accepted rows of a shard as columns, a batch at a time."""
    (staged,) = one_row(execute(connection, "transform/count_staged", _scope(shard), staging=_staging(shard)))
    if staged != shard.last_row - shard.first_row + 1:
        raise StagingLostError.about(f"Run {shard.run_key}: the staged {shard.label} are not all there")
    cursor = execute(
        connection,
        "transform/read_accepted",
        _scope(shard),
        columns=sql.SQL(", ").join(_WRITTEN_AS_TEXT.get(name) or sql.Identifier(name) for name in COLUMNS),
        staging=_staging(shard),
        held_back=_held_back(shard),
    )
    while rows := cursor.fetchmany(batch_rows):
        yield dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))


def _cut(events: Events, size: int) -> Iterator[Events]:
    for start in range(0, len(events), size):
        part = slice(start, start + size)
        drops = {field: reasons[part] for field, reasons in events.drops.items()}
        yield Events(events.event_ids[part], events.stages[part], events.payloads[part], drops)


def _store_chunk(connection: Connection, shard: Shard, chunk_no: int, events: Events, *, body: bytes) -> None:
    execute(
        connection,
        "transform/store_chunk",
        {
            **_scope(shard),
            "chunk_no": chunk_no,
            "events": len(events),
            "event_ids": list(events.event_ids),
            "stages": json.dumps(Counter(events.stages)),
            "dropped": json.dumps(_list_dropped(events.drops)),
            "body": zlib.compress(body, _COMPRESSION_LEVEL),
            "body_sha256": hashlib.sha256(body).digest(),
        },
    )


def _list_dropped(drops: Mapping[str, Sequence[str | None]]) -> dict[str, dict[str, list[int]]]:
    """List by field and reason the events of a chunk (counted from 0) that lost the field (blanks aside)."""
    listed: dict[str, dict[str, list[int]]] = {}
    for field, reasons in drops.items():
        for place, reason in enumerate(reasons):
            if reason and reason != DropReason.BLANK.value:
                listed.setdefault(field, {}).setdefault(reason, []).append(place)
    return listed


def _hold_back(connection: Connection, shard: Shard, row_numbers: Sequence[int]) -> None:
    """Add the rows without a usable identifier to those that validate held back."""
    if row_numbers:
        reason = {"status": Status.QUARANTINED, "reason": Reason.NO_IDENTIFIER}
        execute(
            connection,
            "transform/hold_back",
            {"row_numbers": list(row_numbers), **reason},
            staging=_staging(shard),
            held_back=_held_back(shard),
        )
        execute(connection, "transform/settle_held_back", _scope(shard), held_back=_held_back(shard))


def _scope(shard: Shard) -> dict[str, Any]:
    return {
        "run_key": shard.run_key,
        "shard_no": shard.shard_no,
        "first_row": shard.first_row,
        "last_row": shard.last_row,
    }


def _staging(shard: Shard) -> sql.Identifier:
    return table(staging_table_of(shard.run_key))


def _held_back(shard: Shard) -> sql.Identifier:
    return table(held_back_table_of(shard.run_key))
