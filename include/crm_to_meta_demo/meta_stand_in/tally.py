"""Count the events and requests that arrived, for the page and for tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Final, Literal

DAY_S: Final = 24 * 60 * 60
MAX_DUPLICATES_LISTED: Final = 1_000


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A request and its outcome.

    `status` is None if the connection was reset instead of an answer. `processed_unseen`: its events were processed,
    but the client got no answer, or one that does not say so.
    """

    number: int
    received_at: str
    version: str
    dataset_id: str
    events: int
    test_event_code: str | None
    token_place: Literal["header", "query", "body"] | None
    status: int | None
    error_code: int | None
    error_subcode: int | None
    processed: int
    processed_unseen: bool
    fault: str | None

    def name_answer(self) -> str:
        """Return the answer in short: `200`, `400 100/2804003`, `400 190` or `reset`."""
        if self.status is None:
            return "reset"
        codes = [str(code) for code in (self.error_code, self.error_subcode) if code is not None]
        return f"{self.status} {'/'.join(codes)}".strip()

    def to_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(slots=True)
class Tally:
    """Counts only. Memory grows by a dictionary entry for each different event id."""

    events: int = 0
    per_event_name: Counter[str] = field(default_factory=Counter)
    per_test_event_code: Counter[str] = field(default_factory=Counter)
    per_identifier: Counter[str] = field(default_factory=Counter)
    per_answer: Counter[str] = field(default_factory=Counter)
    times_processed: dict[str, int] = field(default_factory=dict)
    duplicates: dict[str, int] = field(default_factory=dict)
    requests_unseen: int = 0
    _per_day_number: Counter[int] = field(default_factory=Counter)

    def count_event(self, event: Mapping[str, object], test_event_code: str | None) -> None:
        event_id, event_time_unix_s, user_data = str(event["event_id"]), event["event_time"], event["user_data"]
        self.events += 1
        self.per_event_name[str(event["event_name"])] += 1
        if test_event_code is not None:
            self.per_test_event_code[test_event_code] += 1
        if isinstance(event_time_unix_s, int):
            self._per_day_number[event_time_unix_s // DAY_S] += 1
        if isinstance(user_data, dict):
            self.per_identifier.update(user_data.keys())
        times = self.times_processed[event_id] = self.times_processed.get(event_id, 0) + 1
        if times > 1:
            self.duplicates[event_id] = times

    def count_request(self, record: RequestRecord) -> None:
        self.per_answer[record.name_answer()] += 1
        self.requests_unseen += record.processed_unseen

    def list_days(self) -> dict[str, int]:
        """Return the number of events per UTC day of their event_time, oldest first."""
        days = sorted(self._per_day_number.items())
        return {datetime.fromtimestamp(day * DAY_S, UTC).date().isoformat(): events for day, events in days}

    def to_json(self) -> dict[str, object]:
        return {
            "events": self.events,
            "requests": self.per_answer.total(),
            "distinct_event_ids": len(self.times_processed),
            "duplicate_event_ids": len(self.duplicates),
            "duplicates": dict(islice(self.duplicates.items(), MAX_DUPLICATES_LISTED)),
            "requests_processed_unseen": self.requests_unseen,
            "per_event_name": dict(self.per_event_name),
            "per_test_event_code": dict(self.per_test_event_code),
            "per_identifier": dict(self.per_identifier),
            "per_day": self.list_days(),
            "per_answer": dict(self.per_answer),
        }
