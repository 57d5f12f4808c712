"""A body is its events, byte for byte: built, taken apart, cut, and sent again without a lead id."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_to_meta.meta.body import build_body, cut_body, drop_lead_id, encode_event, split_events, write_json

# What could be taken for a border: line breaks, brackets, quotes, the very bytes between events.
nasty_text = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.sampled_from(["\n]}", "},\n{", '\n],"test_event_code":"X"}', '{"data":[\n', '"]', "\\n]", "\u2028]", "\r\n]"]),
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | nasty_text,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(nasty_text, children, max_size=3),
    max_leaves=6,
)
events_lists = st.lists(st.dictionaries(nasty_text, json_values, max_size=4), min_size=1, max_size=8)
codes = st.none() | st.sampled_from(["TEST12345", 'a"b', "]", '"]}', "\n]", '\n],"data":[', "\\", "ü]"]) | nasty_text

LEAD: dict[str, Any] = {"lead_id": 12345678901234567, "em": ["e" * 64], "ph": ["f" * 64]}


def event_with(**user_data: Any) -> bytes:
    """Return an event with these identifiers."""
    return encode_event({"event_name": "Lead", "user_data": user_data, "custom_data": {"value": 0.1}})


# --- Building and taking apart ----------------------------------------------------------------------------------------


def test_a_body_is_what_meta_documents() -> None:
    """Events in `data`, one to a line; no test code where there is none."""
    assert build_body(['{"a":1}', '{"b":2}']) == b'{"data":[\n{"a":1},\n{"b":2}\n]}'


def test_a_test_code_stands_beside_the_data() -> None:
    """A test run's code is a member of the request, not of an event."""
    body = build_body(['{"a":1}'], test_event_code='TEST"1')

    assert json.loads(body) == {"data": [{"a": 1}], "test_event_code": 'TEST"1'}


def test_a_partner_agent_stands_beside_the_data() -> None:
    """An agency's name, agreed on with Meta, is a member of the request; parts of it carry it, too."""
    body = build_body(['{"a":1}', '{"b":2}'], partner_agent="agency-1")

    assert json.loads(body) == {"data": [{"a": 1}, {"b": 2}], "partner_agent": "agency-1"}
    assert json.loads(cut_body(body, 1, 2)) == {"data": [{"b": 2}], "partner_agent": "agency-1"}


@pytest.mark.parametrize("blank", [None, ""], ids=repr)
def test_no_test_code_leaves_no_member(blank: str | None) -> None:
    """A live request does not mention test codes."""
    assert json.loads(build_body(["{}"], test_event_code=blank)) == {"data": [{}]}


@given(events=events_lists, code=codes)
def test_a_body_is_json_of_its_events(events: list[dict[str, object]], code: str | None) -> None:
    """Whatever texts the events hold, Meta reads the same events."""
    body = build_body([write_json(event) for event in events], test_event_code=code)

    expected = {"data": events} | ({"test_event_code": code} if code else {})
    assert json.loads(body) == expected
    assert body.isascii()


@given(events=events_lists, code=codes)
def test_splitting_undoes_building(events: list[dict[str, object]], code: str | None) -> None:
    """The events of a body are the bytes that went in, whatever looks like a border inside them or in the code."""
    written = [write_json(event) for event in events]

    assert split_events(build_body(written, test_event_code=code)) == [event.encode() for event in written]


@given(events=events_lists, code=codes, data=st.data())
def test_a_part_is_built_like_a_body_of_its_own(
    events: list[dict[str, object]], code: str | None, data: st.DataObject
) -> None:
    """A half that is sent alone is, byte for byte, the body that would have been built for it."""
    written = [write_json(event) for event in events]
    start = data.draw(st.integers(0, len(events) - 1))
    end = data.draw(st.integers(start + 1, len(events)))

    part = cut_body(build_body(written, test_event_code=code), start, end)

    assert part == build_body(written[start:end], test_event_code=code)


def test_a_whole_chunk_is_sent_as_it_is_stored() -> None:
    """Nothing is put together anew where nothing is cut off."""
    body = build_body(["{}", "{}"], test_event_code="TEST1")

    assert cut_body(body, 0, 2) is body


def test_an_event_is_one_line_of_ascii() -> None:
    """No blanks, no raw line break, no byte beyond ASCII."""
    assert encode_event({"a": "é\n", "b": [1, 2]}) == b'{"a":"\\u00e9\\n","b":[1,2]}'


# --- Without the lead id ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [("em",), ("ph",), ("em", "ph")], ids="+".join)
def test_an_event_with_an_address_or_a_phone_can_lose_its_lead_id(kept: tuple[str, ...]) -> None:
    """The second try is the same event, less the lead id."""
    event = event_with(**{key: LEAD[key] for key in ("lead_id", *kept)})

    assert drop_lead_id(event) == event_with(**{key: LEAD[key] for key in kept})


@pytest.mark.parametrize(
    "user_data",
    [
        pytest.param({"lead_id": 1}, id="nothing else"),
        pytest.param({"lead_id": 1, "fn": ["a"], "country": ["b"], "fbc": "c"}, id="no strong identifier else"),
        pytest.param({"em": ["e"]}, id="no lead id"),
    ],
)
def test_other_events_have_no_second_try(user_data: dict[str, Any]) -> None:
    """Without a lead id to leave out, or with nothing to match by afterwards, there is nothing to send."""
    assert drop_lead_id(event_with(**user_data)) is None


@given(value=st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**15), 10**15), text=nasty_text)
def test_the_second_try_changes_nothing_else(value: float, text: str) -> None:
    """Every other byte stays: amounts, escapes, order."""
    event = encode_event({"event_name": text, "custom_data": {"value": value}, "user_data": LEAD})
    without = {key: LEAD[key] for key in ("em", "ph")}

    assert drop_lead_id(event) == encode_event(
        {"event_name": text, "custom_data": {"value": value}, "user_data": without}
    )
