"""Keep the requests and their accepted events in a file.

The file has JSON lines and is only appended to. Memory holds an index into it and the counts, so that a million events
fit. Without a path, the file is a temporary one. One write stores a request's events and then its record. If the
process was killed while writing, events without a record are cut off when the file is loaded: no client was told that
they arrived.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from io import FileIO
from pathlib import Path
from typing import Final, cast

from crm_to_meta_demo.meta_stand_in.tally import RequestRecord, Tally

NO_CODE: Final = "-"  # a filter for the events without a test_event_code
encode_json: Final[Callable[[object], str]] = json.JSONEncoder(separators=(",", ":")).encode


class RequestLogError(Exception):
    """The file cannot be used. The message says why and what to do."""


@dataclass(slots=True)
class _Names:
    """Numbers for texts that repeat."""

    numbers: dict[str | None, int] = field(default_factory=dict)

    def number_of(self, text: str | None) -> int:
        return self.numbers.setdefault(text, len(self.numbers))


class RequestLog:
    """The requests that came in, and the events that were accepted."""

    def __init__(self, path: Path | None = None) -> None:
        self.times_forgotten = 0
        self._file = _open_file(path)
        self._clear_index()
        if path is not None:
            self._load_or_close(path)

    def close(self) -> None:
        self._file.close()

    def take_number(self) -> int:
        """Return a number for a new request."""
        self._last_number += 1
        return self._last_number

    def append(self, record: RequestRecord, events: Sequence[dict[str, object]]) -> None:
        """Write the request's events and its record: all or nothing."""
        head = encode_json(
            {"request": record.number, "received_at": record.received_at, "test_event_code": record.test_event_code}
        )
        lines = [f'{{"kind":"event",{head[1:-1]},"event":{encode_json(event)}}}\n'.encode() for event in events]
        end = encode_json({"kind": "request", **record.to_json()}).encode() + b"\n"
        self._write(b"".join([*lines, end]))
        for line, event in zip(lines, events, strict=True):
            self._index_event(len(line), event, record.test_event_code)
        self._index_request(record, len(end))

    def mark_unseen(self, number: int) -> None:
        """Record that the client hung up before the answer to this request was ready."""
        if number in self._records:
            entry = encode_json({"kind": "unseen", "number": number}).encode() + b"\n"
            self._write(entry)
            self._index_unseen(number, len(entry))

    def forget(self) -> None:
        self.times_forgotten += 1
        self._file.seek(0)  # a temporary file writes at its position, not at its end
        self._file.truncate()
        self._clear_index()

    def list_requests(self, *, newest: int | None = None) -> list[RequestRecord]:
        """Return the requests in the order in which they were answered, or only the last `newest` of them."""
        records = list(self._records.values())
        return records if newest is None else records[-newest:]

    def select(self, *, event_name: str = "", test_event_code: str = "", newest_first: bool = False) -> Iterator[int]:
        """Return the positions of matching events. An empty filter matches all, `NO_CODE` those without a code."""
        positions = range(len(self._starts))
        name = self._event_names.numbers.get(event_name, -1)
        code = self._test_codes.numbers.get(None if test_event_code == NO_CODE else test_event_code, -1)
        for position in reversed(positions) if newest_first else positions:
            if event_name and self._name_of[position] != name:
                continue
            if test_event_code and self._code_of[position] != code:
                continue
            yield position

    def read(self, positions: Iterable[int]) -> Iterator[dict[str, object]]:
        """Return the events at these positions, each with its request and how often its event_id was processed."""
        for position in positions:
            entry = json.loads(os.pread(self._file.fileno(), self._lengths[position], self._starts[position]))
            entry["times_processed"] = self.tally.times_processed[entry["event"]["event_id"]]
            del entry["kind"]
            yield entry

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]

    def _clear_index(self) -> None:
        self.tally = Tally()
        self._records: dict[int, RequestRecord] = {}
        self._last_number = 0
        self._end = 0
        self._starts, self._lengths = array("Q"), array("L")
        self._event_names, self._test_codes = _Names(), _Names()
        self._name_of, self._code_of = array("L"), array("L")

    def _index_event(self, length: int, event: dict[str, object], test_event_code: str | None) -> None:
        self._starts.append(self._end)
        self._lengths.append(length)
        self._end += length
        self._name_of.append(self._event_names.number_of(str(event["event_name"])))
        self._code_of.append(self._test_codes.number_of(test_event_code))
        self.tally.count_event(event, test_event_code)

    def _index_request(self, record: RequestRecord, length: int) -> None:
        self._records[record.number] = record
        self._last_number = max(self._last_number, record.number)
        self._end += length
        self.tally.count_request(record)

    def _index_unseen(self, number: int, length: int) -> None:
        self._end += length
        record = self._records[number]
        if record.processed and not record.processed_unseen:
            self._records[number] = replace(record, processed_unseen=True)
            self.tally.requests_unseen += 1

    def _load_or_close(self, path: Path) -> None:
        try:
            self._load(path)
        except RequestLogError:
            self.close()
            raise

    def _load(self, path: Path) -> None:
        waiting: list[tuple[int, dict[str, object]]] = []
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    break
                entry = _parse_entry(line, f"{path}, line {number}")
                if entry["kind"] == "event":
                    waiting.append((len(line), entry))
                else:
                    self._load_end(entry, len(line), waiting)
                    waiting = []
        self._file.truncate(self._end)

    def _load_end(self, entry: dict[str, object], length: int, waiting: list[tuple[int, dict[str, object]]]) -> None:
        for event_length, event_entry in waiting:
            event = cast("dict[str, object]", event_entry["event"])
            self._index_event(event_length, event, cast("str | None", event_entry["test_event_code"]))
        if entry.pop("kind") == "unseen":
            self._index_unseen(cast("int", entry["number"]), length)
        else:
            self._index_request(RequestRecord(**entry), length)  # type: ignore[arg-type]  # written by `append`


def _open_file(path: Path | None) -> FileIO:
    """Open the file for appending, and lock it: two stand-ins on one file would corrupt each other's index."""
    if path is None:
        return tempfile.TemporaryFile("a+b", buffering=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+b", buffering=0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise RequestLogError(f"{path} is in use by another stand-in: stop that one, or name another file") from error
    return file


def _parse_entry(line: bytes, where: str) -> dict[str, object]:
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise RequestLogError(f"{where} is not JSON: move the file away, or name another one") from error
    if not isinstance(entry, dict) or entry.get("kind") not in ("event", "request", "unseen"):
        raise RequestLogError(f"{where} was not written by the stand-in: move the file away, or name another one")
    return entry
