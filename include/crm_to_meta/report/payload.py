"""Read the payload of a preview run: events as they would be sent, what was left out of them and why, a curl command.

It contains what Meta would get of a person: hashes and Meta's lead ids. An event with a click id, which is sent as it
is, is not shown, as in `preview`.
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from crm_to_meta.meta.body import build_body, split_events
from crm_to_meta.reasons import explain_drop
from crm_to_meta.report.preview import choose_events, find_shareable, list_drops, write_curl
from crm_to_meta.report.words import FIELD_WORDS
from crm_to_meta.warehouse import Connection, execute

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MAX_EVENTS: Final = 10
MAX_CHUNKS: Final = 20


class LeftOut(NamedTuple):
    """A field that an event goes without, and why."""

    field: str
    name: str
    why: str


class ShownEvent(NamedTuple):
    """An event as JSON that people can read, and what was left out of it."""

    event_id: str
    event_name: str
    text: str
    left_out: Sequence[LeftOut]


class Chunk(NamedTuple):
    """A request body of the run. It is kept for the pipeline's `retention_days`."""

    chunk_no: int
    events: int
    is_kept: bool


class Payload(NamedTuple):
    """Events of one request body. `curl` is empty where it is unknown where events go."""

    total: int
    chunks: Sequence[Chunk]
    more_chunks: int
    chunk: Chunk
    events: Sequence[ShownEvent]
    with_click_id: int
    curl: str


def read_payload(
    connection: Connection, run_key: str, *, events_url: str | None, chunk_no: int | None = None
) -> Payload | None:
    """Read events of a run's newest request body, or of a given one; None where the run has none.

    Args:
        connection: to the warehouse; read only.
        run_key: the run.
        events_url: where its events would be sent; None where that is unknown.
        chunk_no: the number of a request body.
    """
    chunks = [Chunk(*row) for row in execute(connection, "report/payload_list_chunks", {"run_key": run_key})]
    if not chunks:
        return None
    chunk = next((one for one in chunks if one.chunk_no == chunk_no), chunks[0])
    scope = {"run_key": run_key, "chunk_no": chunk.chunk_no}
    found = execute(connection, "report/payload_read_chunk", scope).fetchone()
    body, dropped = found or (None, {})
    events = split_events(zlib.decompress(body)) if body else []
    shareable = find_shareable(events)
    places = choose_events(shareable, dropped, at_most=MAX_EVENTS)
    request = build_body([events[place].decode() for place in places]).decode()
    return Payload(
        total=sum(one.events for one in chunks),
        chunks=chunks[:MAX_CHUNKS],
        more_chunks=max(len(chunks) - MAX_CHUNKS, 0),
        chunk=chunk,
        events=[_show(events[place], list_drops(dropped, place)) for place in places],
        with_click_id=len(events) - len(shareable),
        curl=write_curl(events_url, request) if events_url and places else "",
    )


def _show(event: bytes, drops: Mapping[str, str]) -> ShownEvent:
    content = json.loads(event)
    text = json.dumps(content, indent=2, ensure_ascii=False)
    return ShownEvent(content["event_id"], content["event_name"], text, list(_list_left_out(drops)))


def _list_left_out(drops: Mapping[str, str]) -> Iterator[LeftOut]:
    for field, reason in drops.items():
        name = FIELD_WORDS[field].name if field in FIELD_WORDS else ""
        yield LeftOut(field, name, explain_drop(reason))
