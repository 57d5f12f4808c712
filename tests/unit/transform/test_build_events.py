"""Rows become exactly the events that Meta documents, byte for byte as in payloads that were reviewed by eye."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_to_meta.models import event_id_of
from crm_to_meta.pipeline.settings import Pipeline
from crm_to_meta.transform.step import COLUMNS, Events, build_events

if TYPE_CHECKING:
    from collections import Counter

GOLDEN_FOLDER = Path(__file__).resolve().parents[2] / "golden"
CRM_NAME = "Codex CRM"
EVENT_TIME = "1673035686"  # as PostgreSQL writes 2023-01-06 20:08:06 UTC

# The row of the design's example: its hashes are those of Meta's documentation, of name@example.com and 16505551234.
MINIMAL: dict[str, Any] = {
    "row_no": 1,
    "event_id": str(event_id_of("conversion_leads", "1001")),
    "event_name": "Lead",
    "stage": "new",
    "event_time": EVENT_TIME,
    "lead_id": "1234567890123456",
    "email": " Name@Example.com",
    "phone": "+1 (650) 555-1234",
}
# A row with every field, and what each hash in its golden event is the hash of.
FULL: dict[str, Any] = {
    "row_no": 2,
    "event_id": str(event_id_of("conversion_leads", "1002")),
    "event_name": "Marketing Qualified Lead",
    "stage": "qualified",
    "event_time": "1772448615",
    "lead_id": "12345678901234567",
    "lead_created_at": datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC),
    "fbclid": "IwAR2F4-dbP0l7Mn1IawQQGCINEz7PYXQvwjNwB_qa2ofrHyiLjcbCRxTDMgk",
    "fbp": "fb.1.1596403881668.1116446470",
    "value": "1249.5",
    "currency": "EUR",
    "email": "NAME@example.com",
    "phone": "030 12345678",
    "first_name": "Renée",
    "last_name": "Müller-Schmidt",
    "gender": "weiblich",
    "date_of_birth": "1997-02-16",
    "city": "Köln",
    "state": "Nordrhein-Westfalen",
    "zip": "50667",
    "country": "Deutschland",
    "external_id": "CRM 42",
}
HASHED_TEXTS = {
    "minimal": {"em": "name@example.com", "ph": "16505551234"},
    "full": {
        "em": "name@example.com",
        "ph": "493012345678",
        "fn": "renée",
        "ln": "müllerschmidt",
        "ge": "f",
        "db": "19970216",
        "ct": "köln",
        "st": "nordrheinwestfalen",
        "zp": "50667",
        "country": "de",
        "external_id": "crm42",
    },
}


@pytest.fixture
def leads() -> Pipeline:
    """Return a pipeline whose default country is the US."""
    return Pipeline(name="conversion_leads", start_date=date(2026, 1, 1), stages={"new": "Lead"}, default_country="US")


def build(*rows: dict[str, Any], pipeline: Pipeline) -> tuple[Events, list[int], dict[str, Counter[str]]]:
    """Build the events of rows that have only these fields."""
    columns = {name: [row.get(name) for row in rows] for name in COLUMNS}
    return build_events(columns, pipeline, crm_name=CRM_NAME)


def build_one(pipeline: Pipeline, **fields: Any) -> dict[str, Any]:
    """Build one event, and read it as strict JSON."""
    events, _, _ = build(MINIMAL | fields, pipeline=pipeline)
    payload: dict[str, Any] = json.loads(events.payloads[0], parse_constant=refuse_constant)
    return payload


def refuse_constant(name: str) -> None:
    """Python's reader takes NaN and Infinity; Meta's does not."""
    raise AssertionError(f"{name} is no JSON")


def read_golden(name: str) -> dict[str, Any]:
    """Return a reviewed event."""
    golden: dict[str, Any] = json.loads((GOLDEN_FOLDER / f"event_{name}.json").read_text(encoding="utf-8"))
    return golden


# --- Golden events ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "row"), [("minimal", MINIMAL), ("full", FULL)], ids=["minimal", "full"])
def test_an_event_is_the_golden_one_byte_for_byte(name: str, row: dict[str, Any], leads: Pipeline) -> None:
    """The members, their order and their values are those of the file, on one line without blanks."""
    events, weak, _ = build(row, pipeline=leads)

    assert events.payloads[0] == json.dumps(read_golden(name), separators=(",", ":"))
    assert weak == []


def test_limited_data_use_is_on_the_event_as_meta_documents_it(leads: Pipeline) -> None:
    """The three members stand on every event of the pipeline, as a list and as integers; the rest is the same."""
    options = {"options": ["LDU"], "country": 1, "state": 1000}
    limited = Pipeline.model_validate({**leads.model_dump(), "data_processing_options": options})
    events, _, _ = build(MINIMAL, MINIMAL, pipeline=limited)

    assert events.payloads == [json.dumps(read_golden("limited_data_use"), separators=(",", ":"))] * 2


@pytest.mark.parametrize("name", HASHED_TEXTS)
def test_the_hashes_of_the_golden_events_are_of_these_texts(name: str) -> None:
    """So that the files can be reviewed by eye: each hash is the SHA-256 of the text that is written above."""
    hashes = {key: value for key, value in read_golden(name)["user_data"].items() if isinstance(value, list)}

    assert hashes == {key: [sha256(text.encode()).hexdigest()] for key, text in HASHED_TEXTS[name].items()}


def test_the_minimal_event_is_the_one_of_the_design() -> None:
    """Section 4, with the event id and the CRM's name filled in."""
    assert read_golden("minimal") == {
        "event_name": "Lead",
        "event_time": 1673035686,
        "event_id": str(event_id_of("conversion_leads", "1001")),
        "action_source": "system_generated",
        "custom_data": {"event_source": "crm", "lead_event_source": "Codex CRM"},
        "user_data": {
            "lead_id": 1234567890123456,
            "em": ["7b17fb0bd173f625b58636fb796407c22b3d16fc78302d79f0fd30c2fc2fc068"],
            "ph": ["6069d14bf122fdfd931dc7beb58e5dfbba395b1faf05bdcd42d12358d63d8599"],
        },
    }


# --- What an event carries --------------------------------------------------------------------------------------------


@given(lead_id=st.integers(10**14, 10**17 - 1))
def test_a_lead_id_is_exact_to_its_last_digit(lead_id: int) -> None:
    """15 to 17 digits are an integer in the JSON, also above 2**53, where a float would round."""
    pipeline = Pipeline(name="leads", start_date=date(2026, 1, 1), stages={"new": "Lead"})
    events, _, _ = build(MINIMAL | {"lead_id": str(lead_id)}, pipeline=pipeline)

    assert f'"lead_id":{lead_id},' in events.payloads[0]


def test_the_name_of_the_event_is_the_mapped_one(leads: Pipeline) -> None:
    """Meta sees the pipeline's name for the stage; the CRM's own stays with the event for the figures."""
    events, _, _ = build(MINIMAL | {"stage": "won", "event_name": "Converted ✓"}, pipeline=leads)

    assert json.loads(events.payloads[0])["event_name"] == "Converted ✓"
    assert (events.event_ids, events.stages) == ([MINIMAL["event_id"]], ["won"])


# --- value and currency -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "sent"), [("12.5", 12.5), ("12", 12), ("0", 0), ("-5.25", -5.25), ("0.00001", 1e-5)])
def test_an_amount_is_a_json_number(value: str, sent: float, leads: Pipeline) -> None:
    """Whole amounts are integers, others are not rounded."""
    custom_data = build_one(leads, value=value, currency="USD")["custom_data"]

    assert custom_data == {"event_source": "crm", "lead_event_source": CRM_NAME, "value": sent, "currency": "USD"}
    assert type(custom_data["value"]) is type(sent)


@pytest.mark.parametrize(("value", "currency"), [("5", None), (None, "USD"), (None, None)])
def test_value_and_currency_go_together(value: str | None, currency: str | None, leads: Pipeline) -> None:
    """Where either is missing the event goes without both."""
    assert build_one(leads, value=value, currency=currency) == read_golden("minimal")


# --- Many rows --------------------------------------------------------------------------------------------------------


def test_rows_that_meta_cannot_match_are_held_back(leads: Pipeline) -> None:
    """Their numbers are told apart; the others go on, in order."""
    identified = {"email": "a@example.com"}
    rows = [
        {**MINIMAL, "row_no": 11},
        {"row_no": 12},
        {"row_no": 13, "first_name": "Ann", "gender": "f"},
        {**identified, "row_no": 14},
        {"row_no": 15, "email": "no address", "lead_id": "12"},
    ]
    shared = {name: MINIMAL[name] for name in ("event_id", "event_name", "stage", "event_time")}

    events, weak, fields = build(*(shared | row for row in rows), pipeline=leads)

    assert [json.loads(payload)["user_data"].keys() for payload in events.payloads] == [{"lead_id", "em", "ph"}, {"em"}]
    assert weak == [12, 13, 15]
    assert fields["em"] == {"usable": 2, "not_an_email": 1}


def test_rows_with_and_without_a_lead_id_stand_side_by_side(leads: Pipeline) -> None:
    """Each event is JSON of its own, whatever its first identifier, and whatever names are made of JSON."""
    name = '"user_data":{,}'
    rows = [MINIMAL, MINIMAL | {"lead_id": None}, MINIMAL | {"lead_id": None, "email": "?"}, MINIMAL | {"email": None}]

    events, _, _ = build(*(row | {"event_name": name} for row in rows), pipeline=leads)
    read = [json.loads(payload) for payload in events.payloads]

    assert [list(event["user_data"]) for event in read] == [
        ["lead_id", "em", "ph"],
        ["em", "ph"],
        ["ph"],
        ["lead_id", "ph"],
    ]
    assert {event["event_name"] for event in read} == {name}


def test_drops_stay_with_their_events(leads: Pipeline) -> None:
    """Rows that are held back leave no gap: each event has its own reasons."""
    rows = [
        MINIMAL | {"row_no": 1, "phone": "n/a"},
        {**MINIMAL, "row_no": 2, "lead_id": None, "email": "none", "phone": "n/a"},
        MINIMAL | {"row_no": 3, "email": "nobody", "phone": " "},
        MINIMAL | {"row_no": 4},
    ]

    events, weak, _ = build(*rows, pipeline=leads)

    assert weak == [2]
    assert events.drops == {
        "em": [None, "not_an_email", None],
        "ph": ["phone_not_possible", "blank", None],
    }


def test_no_rows_give_no_events(leads: Pipeline) -> None:
    """A shard whose rows were all held back by validation has nothing to send."""
    events, weak, fields = build(pipeline=leads)

    assert (len(events), weak) == (0, [])
    assert not any(fields.values())


def test_building_twice_gives_the_same_bytes(leads: Pipeline) -> None:
    """A preview is what a live run sends: events depend on their row and the settings alone."""
    once, _, _ = build(MINIMAL, FULL, pipeline=leads)
    again, _, _ = build(FULL, MINIMAL, pipeline=leads)

    assert once.payloads == again.payloads[::-1]
