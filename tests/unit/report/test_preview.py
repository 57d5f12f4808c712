"""A preview shows a few events, what they go without, and a request that anybody can read."""

from __future__ import annotations

import shlex

import pytest

from crm_to_meta.report.preview import choose_events, describe_event, list_drops, write_curl

DROPPED = {"ph": {"phone_not_possible": [2, 7]}, "em": {"not_an_email": [2]}}


@pytest.mark.parametrize(
    ("number", "dropped", "places"),
    [
        pytest.param(10, {}, [7, 8, 9], id="the newest"),
        pytest.param(10, DROPPED, [2, 7, 9], id="those that go without something, and the newest"),
        pytest.param(10, {"ph": {"phone_not_possible": list(range(10))}}, [7, 8, 9], id="all go without something"),
        pytest.param(2, {}, [0, 1], id="few events"),
        pytest.param(1, {"ph": {"phone_not_possible": [0]}}, [0], id="one event"),
    ],
)
def test_the_events_that_teach_most_are_shown(
    number: int, dropped: dict[str, dict[str, list[int]]], places: list[int]
) -> None:
    """Three at most, and those of which something was left out before others."""
    assert choose_events(range(number), dropped) == places


def test_the_drops_of_an_event_are_its_own() -> None:
    """By place in the chunk; an event without drops has none."""
    assert list_drops(DROPPED, 2) == {"ph": "phone_not_possible", "em": "not_an_email"}
    assert list_drops(DROPPED, 7) == {"ph": "phone_not_possible"}
    assert list_drops(DROPPED, 3) == {}


def test_an_event_is_told_by_names_not_by_values() -> None:
    """What it is, what it identifies the lead by, what was left out and why."""
    event = {"event_id": "e-1", "event_name": "Lead", "user_data": {"lead_id": 1, "em": ["hash"]}}

    assert describe_event(event, {"ph": "phone_not_possible"}) == (
        "  e-1  Lead: lead_id, em; left out: ph (not a possible phone number)"
    )
    assert describe_event(event, {}) == "  e-1  Lead: lead_id, em"


def test_the_request_leaves_the_token_to_the_shell() -> None:
    """A header with the shell's variable, and the body as it is, whatever quotes are in it."""
    command = write_curl("https://graph.facebook.com/v24.0/1/events", '{"data":[\n{"event_name":"it\'s"}\n]}')

    assert '"Authorization: Bearer $META_ACCESS_TOKEN"' in command
    assert command.endswith('<<\'EVENTS\'\n{"data":[\n{"event_name":"it\'s"}\n]}\nEVENTS')


def test_a_strange_address_is_quoted() -> None:
    """Whatever the connection says as its base URL, the shell reads one word."""
    url = "https://proxy.example.com/$(id)/v24.0/1/events"

    assert shlex.split(write_curl(url, "{}").splitlines()[0].removesuffix("\\"))[3] == url
