"""Render the page that shows people what arrived, filtered by the query string; its frame is that of the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

from crm_to_meta_demo.meta_stand_in.request_log import NO_CODE, RequestLog
from crm_to_meta_demo.meta_stand_in.tally import RequestRecord

EVENTS_SHOWN: Final = 25
REQUESTS_SHOWN: Final = 15
BARS_SHOWN: Final = 14

FOLDER: Final = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Bar:
    label: str
    count: int
    percent: float


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event with the names of its user_data. The values are in `full_json` alone."""

    name: str
    happened_at: str
    received_at: str
    identifiers: list[str]
    event_id: str
    request: int
    test_event_code: str | None
    times_processed: int
    full_json: str


@dataclass(frozen=True, slots=True)
class RequestRow:
    number: int
    received_at: str
    events: int
    test_event_code: str | None
    answer: str
    tone: str
    note: str


def render_page(request_log: RequestLog, *, event_name: str, test_event_code: str) -> str:
    from crm_to_meta.report.layout import make_environment  # with all of the report, which takes a second to load

    tally = request_log.tally
    chosen = request_log.select(event_name=event_name, test_event_code=test_event_code, newest_first=True)
    return (
        make_environment(FOLDER)
        .get_template("page.html")
        .render(
            tally=tally,
            per_name=make_bars(tally.per_event_name, whole=tally.events),
            per_day=make_day_bars(tally.list_days()),
            per_identifier=make_bars(tally.per_identifier, whole=tally.events),
            event_names=sorted(tally.per_event_name),
            test_event_codes=sorted(tally.per_test_event_code),
            chosen_name=event_name,
            chosen_code=test_event_code,
            no_code=NO_CODE,
            events=[describe_event(entry) for entry in request_log.read(islice(chosen, EVENTS_SHOWN))],
            requests=[
                describe_request(record) for record in reversed(request_log.list_requests(newest=REQUESTS_SHOWN))
            ],
        )
    )


def make_bars(counts: Mapping[str, int], *, whole: int) -> list[Bar]:
    """Return bars for the largest counts, each with its share of the whole in percent."""
    largest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:BARS_SHOWN]
    return [Bar(label, count, 100 * count / whole) for label, count in largest]


def make_day_bars(days: Mapping[str, int]) -> list[Bar]:
    """Return bars for the latest days, oldest first. The busiest day has the longest bar."""
    latest = list(days.items())[-BARS_SHOWN:]
    busiest = max((count for _, count in latest), default=1)
    return [Bar(day, count, 100 * count / busiest) for day, count in latest]


def describe_event(entry: Mapping[str, Any]) -> EventRow:
    event = entry["event"]
    return EventRow(
        name=event["event_name"],
        happened_at=f"{datetime.fromtimestamp(event['event_time'], UTC):%Y-%m-%d %H:%M:%S}",
        received_at=shorten_time(entry["received_at"]),
        identifiers=list(event["user_data"]),
        event_id=event["event_id"],
        request=entry["request"],
        test_event_code=entry["test_event_code"],
        times_processed=entry["times_processed"],
        full_json=json.dumps(event, indent=2, ensure_ascii=False),
    )


def describe_request(record: RequestRecord) -> RequestRow:
    if record.status is None:
        answer, tone = "connection reset", "alarm"
    else:
        answer, tone = record.name_answer(), "good" if record.status == 200 else "alarm"
    notes = [f"planned fault: {record.fault}"] if record.fault else []
    if record.processed_unseen:
        notes.append(f"{record.processed} processed, but the client was not told")
        tone = "attention"
    elif record.status == 200 and record.processed != record.events:
        notes.append(f"only {record.processed} processed")
        tone = "attention"
    return RequestRow(
        number=record.number,
        received_at=shorten_time(record.received_at),
        events=record.events,
        test_event_code=record.test_event_code,
        answer=answer,
        tone=tone,
        note="; ".join(notes),
    )


def shorten_time(iso_time: str) -> str:
    return iso_time[:19].replace("T", " ")
