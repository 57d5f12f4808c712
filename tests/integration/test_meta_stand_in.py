"""The stand-in for Meta through real HTTP: each check, each fault, the request log, the page and the server."""

from __future__ import annotations

import hashlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from crm_to_meta_demo.meta_stand_in.request_log import RequestLogError
from crm_to_meta_demo.meta_stand_in.testing import StandIn, running_stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.thorough  # about the demo, not about the product

NOW_UNIX_S = 1_788_600_000  # the stand-in's clock stands still at 2026-09-05
TIMEOUT_S = 60  # a busy computer may take a while
SLOW_S = 0.8
INCLUDE = Path(__file__).parents[2] / "include"

Json = dict[str, Any]


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def make_event(number: int = 1, **changes: Any) -> Json:
    """Return a valid event. A change to None removes the member."""
    event = {
        "event_name": "Lead",
        "event_time": NOW_UNIX_S - 3600,
        "event_id": f"event-{number}",
        "action_source": "system_generated",
        "custom_data": {"event_source": "crm", "lead_event_source": "Codex CRM"},
        "user_data": {"lead_id": 12345678901234567, "em": [sha256("a@example.com")], "fn": sha256("ada")},
    } | changes
    return {key: value for key, value in event.items() if value is not None}


def with_custom(**changes: Any) -> Json:
    custom_data = {"event_source": "crm", "lead_event_source": "Codex CRM"} | changes
    return make_event(custom_data={key: value for key, value in custom_data.items() if value is not None})


def with_user(**user_data: Any) -> Json:
    return make_event(user_data=user_data)


def send(
    stand_in: StandIn,
    *events: Any,
    url: str | None = None,
    token: str | None = None,
    timeout_s: float = TIMEOUT_S,
    **body: Any,
) -> requests.Response:
    headers = {"Authorization": f"Bearer {token or stand_in.token}"}
    payload = {"data": list(events), **body}
    return requests.post(url or stand_in.url(), json=payload, headers=headers, timeout=(TIMEOUT_S, timeout_s))


def read_codes(answer: requests.Response) -> tuple[int, int | None, int | None]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error.get("error_subcode")


@pytest.fixture(scope="module")
def shared() -> Iterator[StandIn]:
    with running_stand_in() as stand_in:
        yield stand_in


@pytest.fixture
def stand_in(shared: StandIn) -> StandIn:
    shared.reset()
    shared.set_settings(now_unix_s=NOW_UNIX_S)
    return shared


# What is taken


def test_sound_events_are_accepted(stand_in: StandIn) -> None:
    """A 200 counts the events that were received and carries a trace id."""
    answer = send(stand_in, make_event(1), make_event(2))

    assert answer.status_code == 200
    assert answer.json() | {"fbtrace_id": ""} == {"events_received": 2, "messages": [], "fbtrace_id": ""}
    assert answer.json()["fbtrace_id"]


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(with_user(em=[sha256("a"), sha256("b")]), id="several e-mails"),
        pytest.param(with_user(em=sha256("a")), id="one hash without a list"),
        pytest.param(with_user(lead_id=123456789012345), id="lead id of 15 digits"),
        pytest.param(with_user(fbc="fb.1.1554763741205.AbCdEfGh_aem-x"), id="click id"),
        pytest.param(with_user(fbp="fb.1.1596403881668.1116446470"), id="browser id"),
        pytest.param(with_user(fn=sha256("a"), ln=sha256("b")), id="both names"),
        pytest.param(with_custom(value=12.5, currency="EUR"), id="value with currency"),
        pytest.param(make_event(event_time=NOW_UNIX_S - 7 * 86400), id="exactly 7 days old"),
        pytest.param(make_event(event_time=NOW_UNIX_S + 60), id="a minute ahead"),
    ],
)
def test_every_documented_form_is_accepted(stand_in: StandIn, event: Json) -> None:
    """What Meta documents as allowed is accepted."""
    assert send(stand_in, event).status_code == 200


def test_lead_id_arrives_exact(stand_in: StandIn) -> None:
    """A lead id of 17 digits is kept to the last digit."""
    send(stand_in, with_user(lead_id=12345678901234567))

    assert stand_in.events()[0]["event"]["user_data"]["lead_id"] == 12345678901234567


def test_a_thousand_events_fit_in_one_request(stand_in: StandIn) -> None:
    """1,000 events in one request is Meta's limit, and is allowed."""
    assert send(stand_in, *(make_event(number) for number in range(1000))).json()["events_received"] == 1000


# What is refused


@pytest.mark.parametrize(
    ("event", "subcode"),
    [
        pytest.param("text", 2804019, id="not an object"),
        pytest.param(make_event(colour="red"), None, id="unexpected key"),
        pytest.param(make_event(event_name=None), 2804019, id="no name"),
        pytest.param(make_event(event_name=" "), 2804019, id="blank name"),
        pytest.param(make_event(event_id=None), 2804019, id="no event id"),
        pytest.param(make_event(event_time=None), 2804019, id="no time"),
        pytest.param(make_event(event_time=str(NOW_UNIX_S)), 2804019, id="time as text"),
        pytest.param(make_event(event_time=NOW_UNIX_S + 0.5), 2804019, id="time as float"),
        pytest.param(make_event(event_time=True), 2804019, id="time as bool"),
        pytest.param(make_event(event_time=NOW_UNIX_S - 7 * 86400 - 1), 2804003, id="older than 7 days"),
        pytest.param(make_event(event_time=NOW_UNIX_S + 61), 2804004, id="more than a minute ahead"),
        pytest.param(make_event(event_time=NOW_UNIX_S * 1000), 2804004, id="milliseconds"),
        pytest.param(make_event(action_source="website"), 2804019, id="other action source"),
        pytest.param(make_event(action_source=None), 2804019, id="no action source"),
        pytest.param(make_event(custom_data=None), 2804019, id="no custom data"),
        pytest.param(with_custom(event_source="web"), 2804019, id="other event source"),
        pytest.param(with_custom(lead_event_source=""), 2804019, id="empty CRM name"),
        pytest.param(with_custom(lead_event_source=None), 2804019, id="no CRM name"),
        pytest.param(make_event(event_name="Purchase"), 2804009, id="purchase without value"),
        pytest.param(with_custom(value=10), 2804023, id="value without currency"),
        pytest.param(with_custom(value="10", currency="EUR"), 2804019, id="value as text"),
        pytest.param(with_custom(value=10, currency="Euro"), 2804019, id="currency spelled out"),
        pytest.param(make_event(user_data=None), 2804050, id="no user data"),
        pytest.param(make_event(user_data=[]), 2804019, id="user data not an object"),
        pytest.param(with_user(lead_id=12345678901234567, phone=sha256("1")), None, id="unexpected user data"),
        pytest.param(with_user(lead_id="12345678901234567"), 2804019, id="lead id as text"),
        pytest.param(with_user(lead_id=1.5e15), 2804019, id="lead id as float"),
        pytest.param(with_user(lead_id=12345678901234), 2804036, id="lead id of 14 digits"),
        pytest.param(with_user(lead_id=123456789012345678), 2804036, id="lead id of 18 digits"),
        pytest.param(with_user(lead_id=-12345678901234567), 2804036, id="negative lead id"),
        pytest.param(with_user(em="a@example.com"), 2804019, id="clear text"),
        pytest.param(with_user(em=sha256("a").upper()), 2804019, id="hash in capitals"),
        pytest.param(with_user(ph="5d41402abc4b2a76b9719d911017c592"), 2804019, id="MD5"),
        pytest.param(with_user(em=[sha256("a"), None]), 2804019, id="null among the hashes"),
        pytest.param(with_user(em=[]), 2804019, id="empty list"),
        pytest.param(with_user(em=sha256("")), 2804019, id="hash of the empty text"),
        pytest.param(with_user(em=sha256("None")), 2804019, id="hash of a printed null"),
        pytest.param(with_user(fbc="AbCdEf"), 2804019, id="bare fbclid"),
        pytest.param(with_user(fbc="fb.1.1554763741.AbCdEf"), 2804019, id="click id in seconds"),
        pytest.param(with_user(fbp="fb.1.1596403881668.abc"), 2804019, id="malformed browser id"),
        pytest.param(with_user(em=sha256("a"), client_user_agent=sha256("b")), 2804019, id="hashed user agent"),
        pytest.param(with_user(), 2804050, id="empty user data"),
        pytest.param(with_user(ct=sha256("a"), zp=sha256("b"), country=sha256("de")), 2804050, id="address only"),
        pytest.param(with_user(db=sha256("20000101")), 2804050, id="birthday only"),
        pytest.param(with_user(fn=sha256("a"), ge=sha256("f")), 2804050, id="first name and gender"),
        pytest.param(with_user(ln=sha256("a"), ge=sha256("f")), 2804050, id="last name and gender"),
    ],
)
def test_a_faulty_event_is_refused(stand_in: StandIn, event: Any, subcode: int | None) -> None:
    """What Meta refuses, and what this project must never send, is answered by 100 with its subcode."""
    assert read_codes(send(stand_in, event)) == (400, 100, subcode)


@pytest.mark.parametrize("key", ["em", "ph", "fn", "ln", "ge", "db", "ct", "st", "zp", "country", "external_id"])
def test_each_personal_field_must_be_hashed(stand_in: StandIn, key: str) -> None:
    """No field that identifies a person gets in as clear text, and the answer does not repeat it."""
    answer = send(stand_in, with_user(lead_id=12345678901234567, **{key: "cleartext"}))

    assert read_codes(answer) == (400, 100, 2804019)
    assert "cleartext" not in answer.text


def test_one_faulty_event_refuses_the_whole_request(stand_in: StandIn) -> None:
    """One faulty event keeps the whole request from being processed."""
    send(stand_in, make_event(1), make_event(2, event_name=None), make_event(3))

    assert stand_in.events() == []


def test_a_generic_payload_error_names_the_event(stand_in: StandIn) -> None:
    """The generic errors say which event is at fault."""
    malformed = send(stand_in, make_event(1), make_event(2, event_name=None)).json()["error"]
    unexpected = send(stand_in, make_event(1), make_event(2, colour="red")).json()["error"]

    assert "$['data'][1]['event_name']" in malformed["error_user_msg"]
    assert unexpected["message"] == """(#100) Unexpected key "colour" on param "$['data'][1]"."""


def test_an_error_has_the_shape_of_metas(stand_in: StandIn) -> None:
    """An error carries the members that Meta's carry."""
    error = send(stand_in, make_event(event_time=1)).json()["error"]

    assert error.keys() == {
        "message", "type", "code", "error_subcode", "is_transient", "error_user_title", "error_user_msg", "fbtrace_id",
    }  # fmt: skip


def test_deleted_leads_refuse_the_request(stand_in: StandIn) -> None:
    """A lead that was deleted at Meta is answered by 100/2804036."""
    stand_in.set_settings(deleted_lead_ids={12345678901234567})

    assert read_codes(send(stand_in, make_event())) == (400, 100, 2804036)


def test_poisoned_events_refuse_the_request(stand_in: StandIn) -> None:
    """An event that a test has declared poisoned is answered by the subcode that it chose."""
    stand_in.set_settings(poisoned_event_ids={"event-7": 2804048})

    assert read_codes(send(stand_in, make_event(6), make_event(7))) == (400, 100, 2804048)


@pytest.mark.parametrize(
    ("token", "subcode"), [("wrong", None), ("expired-token", 463), ("stand-in-tokeñ".encode().decode("latin-1"), None)]
)
def test_a_bad_token_is_refused(stand_in: StandIn, token: str, subcode: int | None) -> None:
    """A wrong token is answered by 190, an expired one by 190/463."""
    assert read_codes(send(stand_in, make_event(), token=token)) == (400, 190, subcode)


def test_no_token_is_refused(stand_in: StandIn) -> None:
    """A request without any token is answered by 190."""
    answer = requests.post(stand_in.url(), json={"data": [make_event()]}, timeout=TIMEOUT_S)

    assert read_codes(answer) == (400, 190, None)


@pytest.mark.parametrize("place", ["header", "query", "body"])
def test_a_token_is_taken_where_meta_takes_it(stand_in: StandIn, place: str) -> None:
    """The token may come as Bearer header, in the query or in the body, and the record says where it was."""
    requests.post(
        stand_in.url(),
        params={"access_token": stand_in.token} if place == "query" else None,
        headers={"Authorization": f"Bearer {stand_in.token}"} if place == "header" else None,
        json={"data": [make_event()]} | ({"access_token": stand_in.token} if place == "body" else {}),
        timeout=TIMEOUT_S,
    ).raise_for_status()

    assert stand_in.requests()[0]["token_place"] == place


def test_an_unknown_dataset_is_refused(stand_in: StandIn) -> None:
    """A wrong dataset id is configuration: 100/33."""
    assert read_codes(send(stand_in, make_event(), url=stand_in.url(dataset_id="42"))) == (400, 100, 33)


def test_an_unknown_version_is_refused(stand_in: StandIn) -> None:
    """A version that is not in use is configuration: 2635."""
    assert read_codes(send(stand_in, make_event(), url=stand_in.url(version="v2.0"))) == (400, 2635, None)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"data": []}, id="empty data"),
        pytest.param({}, id="no data"),
        pytest.param({"data": {}}, id="data not a list"),
        pytest.param([], id="not an object"),
        pytest.param({"data": [make_event()], "dta": 1}, id="unexpected key"),
        pytest.param({"data": [make_event()], "test_event_code": ""}, id="empty test code"),
        pytest.param({"data": [make_event(number) for number in range(1001)]}, id="1,001 events"),
    ],
)
def test_a_faulty_body_is_refused(stand_in: StandIn, body: Any) -> None:
    """A body that is not what "Using the API" describes is answered by 100."""
    headers = {"Authorization": f"Bearer {stand_in.token}"}

    assert read_codes(requests.post(stand_in.url(), json=body, headers=headers, timeout=TIMEOUT_S)) == (400, 100, None)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"{", id="broken"),
        pytest.param(b'{"data": [NaN]}', id="NaN"),
        pytest.param(b'{"data": [1e999]}', id="infinite"),
        pytest.param(b'{"data": ["\\ud83d"]}', id="half a character"),
    ],
)
def test_a_body_that_is_not_json_is_refused(stand_in: StandIn, raw: bytes) -> None:
    """A body that is not strict JSON is answered by 100."""
    headers = {"Authorization": f"Bearer {stand_in.token}", "Content-Type": "application/json"}

    assert read_codes(requests.post(stand_in.url(), data=raw, headers=headers, timeout=TIMEOUT_S)) == (400, 100, None)


def test_a_body_without_its_content_type_is_refused(stand_in: StandIn) -> None:
    """Without Content-Type: application/json Meta would look for form fields and find no data."""
    raw, headers = json.dumps({"data": [make_event()]}), {"Authorization": f"Bearer {stand_in.token}"}

    assert read_codes(requests.post(stand_in.url(), data=raw, headers=headers, timeout=TIMEOUT_S)) == (400, 100, None)


def test_a_compressed_body_is_refused(stand_in: StandIn) -> None:
    """Meta is not known to take gzip: the answer is an error of no known class."""
    headers = {"Authorization": f"Bearer {stand_in.token}", "Content-Encoding": "gzip"}

    assert read_codes(requests.post(stand_in.url(), data=b"\x1f\x8b", headers=headers, timeout=TIMEOUT_S)) == (
        400,
        5,
        None,
    )


# Faults


@pytest.mark.parametrize(
    ("fault", "status", "body"),
    [
        ({"kind": "status"}, 503, ""),
        ({"kind": "status", "status": 500, "body": "down"}, 500, "down"),
        ({"kind": "answer", "status": 429, "json": {"error": {"code": 4}}}, 429, '{"error": {"code": 4}}'),
    ],
)
def test_a_planned_answer_replaces_the_honest_one(stand_in: StandIn, fault: Json, status: int, body: str) -> None:
    """Status, body and JSON are answered as planned, and nothing is processed."""
    stand_in.set_faults([fault])
    answer = send(stand_in, make_event())

    assert (answer.status_code, answer.text) == (status, body)
    assert stand_in.events() == []


def test_a_planned_answer_carries_its_headers(stand_in: StandIn) -> None:
    """A fault can set headers, such as Retry-After."""
    stand_in.set_faults([{"kind": "status", "status": 429, "headers": {"Retry-After": "7"}}])

    assert send(stand_in, make_event()).headers["Retry-After"] == "7"


def test_html_is_the_page_of_a_proxy(stand_in: StandIn) -> None:
    """An HTML error comes as HTML, not as JSON."""
    stand_in.set_faults([{"kind": "html", "status": 502}])
    answer = send(stand_in, make_event())

    assert (answer.status_code, answer.headers["content-type"]) == (502, "text/html; charset=utf-8")


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "processed": True},
        {"kind": "html", "processed": True},
        {"kind": "answer", "json": {"error": {"code": 2}}, "processed": True},
    ],
    ids=lambda fault: fault["kind"],
)
def test_an_error_can_hide_that_events_went_in(stand_in: StandIn, fault: Json) -> None:
    """With `processed`, the events are processed although the answer says otherwise, and the record shows it."""
    stand_in.set_faults([fault])
    send(stand_in, make_event())

    assert len(stand_in.events()) == 1
    assert stand_in.requests()[0]["processed_unseen"]


@pytest.mark.parametrize(("kind", "processed"), [("reset_before", 0), ("reset_after", 1)])
def test_a_reset_is_a_true_one(stand_in: StandIn, kind: str, processed: int) -> None:
    """The client sees ECONNRESET; only the record shows whether the events were processed."""
    stand_in.set_faults([{"kind": kind}])

    with pytest.raises(requests.exceptions.ConnectionError, match="ConnectionResetError"):
        send(stand_in, make_event())

    record = stand_in.requests()[0]
    assert (record["status"], record["processed"], record["processed_unseen"]) == (None, processed, bool(processed))


def test_a_refused_request_is_not_processed_by_a_reset_either(stand_in: StandIn) -> None:
    """A faulty request that ends in a reset leaves no event behind."""
    stand_in.set_faults([{"kind": "reset_after"}])

    with pytest.raises(requests.exceptions.ConnectionError):
        send(stand_in, make_event(event_name=None))

    assert not stand_in.requests()[0]["processed_unseen"]


@pytest.mark.parametrize(("process", "in_time", "in_the_end"), [("first", 1, 1), ("after", 0, 1), ("never", 0, 0)])
def test_a_slow_answer_outlasts_the_client(stand_in: StandIn, process: str, in_time: int, in_the_end: int) -> None:
    """The client gives up; its events are processed before that, later, or never."""
    stand_in.set_faults([{"kind": "slow", "seconds": SLOW_S, "process": process}])
    started = time.monotonic()

    with pytest.raises(requests.exceptions.ReadTimeout):
        send(stand_in, make_event(), timeout_s=0.1)
    wait_for_fault(stand_in)
    meanwhile = stand_in.stats()["events"]
    is_over = time.monotonic() - started >= SLOW_S  # this computer was slower than the answer

    assert meanwhile == in_time or is_over
    wait_for(stand_in, requests_done=1, unseen=in_the_end)
    assert stand_in.stats()["events"] == in_the_end


def wait_for(stand_in: StandIn, *, requests_done: int, unseen: int) -> None:
    """Wait until the late request is on record; if it never is, the caller's last read shows what was there."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        stats = stand_in.stats()
        if (stats["requests"], stats["requests_processed_unseen"]) == (requests_done, unseen):
            return
        if time.monotonic() > deadline:
            pytest.fail(f"never came to {requests_done} requests, {unseen} of them unseen: {stats}")
        time.sleep(0.02)


def wait_for_fault(stand_in: StandIn) -> None:
    """Wait until the request that a fault is planned for has come in."""
    deadline = time.monotonic() + TIMEOUT_S
    while not stand_in.faults()[0]["fired"]:
        assert time.monotonic() < deadline, "the request never came in"
        time.sleep(0.02)


def test_a_slow_answer_reaches_a_patient_client(stand_in: StandIn) -> None:
    """A client that waits gets the honest answer, and nothing is marked as unseen."""
    stand_in.set_faults([{"kind": "slow", "seconds": 0.05}])

    assert send(stand_in, make_event()).json()["events_received"] == 1
    assert not stand_in.requests()[0]["processed_unseen"]


def test_latency_delays_every_answer(stand_in: StandIn) -> None:
    """The base latency applies to all requests."""
    stand_in.set_settings(latency_ms=800)

    with pytest.raises(requests.exceptions.ReadTimeout):
        send(stand_in, make_event(), timeout_s=0.1)


def test_a_truncated_body_is_no_json(stand_in: StandIn) -> None:
    """Half a body with a 200 cannot be read, and its events were processed."""
    stand_in.set_faults([{"kind": "truncated"}])
    answer = send(stand_in, make_event())

    assert answer.status_code == 200
    with pytest.raises(requests.exceptions.JSONDecodeError):
        answer.json()
    assert stand_in.requests()[0]["processed_unseen"]


def test_a_body_can_break_off_on_the_way(stand_in: StandIn) -> None:
    """With `cut_connection`, fewer bytes come than Content-Length says."""
    stand_in.set_faults([{"kind": "truncated", "cut_connection": True}])

    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        send(stand_in, make_event())

    assert stand_in.requests()[0]["processed_unseen"]


@pytest.mark.parametrize(("processed", "kept"), [("counted", 1), ("all", 3)])
def test_fewer_events_can_be_counted_than_sent(stand_in: StandIn, processed: str, kept: int) -> None:
    """A 200 with a smaller number: only the counted events were processed, or all."""
    stand_in.set_faults([{"kind": "fewer_received", "missing": 2, "processed": processed}])
    answer = send(stand_in, make_event(1), make_event(2), make_event(3))

    assert answer.json()["events_received"] == 1
    assert len(stand_in.events()) == kept


@pytest.mark.parametrize(
    ("when", "statuses"),
    [
        ({}, [503, 503, 503, 503]),
        ({"nth": 2}, [200, 503, 200, 200]),
        ({"from_request": 2, "to_request": 3}, [200, 503, 503, 200]),
        ({"times": 2}, [503, 503, 200, 200]),
        ({"event_id": "event-3"}, [200, 200, 503, 200]),
        ({"lead_id": 12345678901234567}, [503, 503, 503, 503]),
        ({"lead_id": 12345678901234568}, [200, 200, 200, 200]),
        ({"more_than_events": 1}, [200, 200, 200, 200]),
        ({"probability": 0}, [200, 200, 200, 200]),
        ({"probability": 1}, [503, 503, 503, 503]),
        ({"from_request": 2, "times": 1}, [200, 503, 200, 200]),
    ],
    ids=str,
)
def test_a_fault_happens_when_it_is_planned(stand_in: StandIn, when: Json, statuses: list[int]) -> None:
    """All conditions of `when` must hold; requests count from 1."""
    stand_in.set_faults([{"kind": "status", "when": when}])

    assert [send(stand_in, make_event(number)).status_code for number in (1, 2, 3, 4)] == statuses


def test_chance_repeats_itself(stand_in: StandIn) -> None:
    """The same seed draws the same requests: some, but not all of them."""
    runs = []
    for _ in range(2):
        stand_in.set_faults([{"kind": "status", "when": {"probability": 0.5, "seed": 3}}])
        runs.append([send(stand_in, make_event(number)).status_code for number in range(12)])

    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 503}


def test_the_first_due_fault_happens(stand_in: StandIn) -> None:
    """A request gets the first fault that is due; the plan can be read with its counts, and cleared."""
    stand_in.set_faults([{"kind": "status", "status": 500, "when": {"nth": 1}}, {"kind": "html"}])
    statuses = [send(stand_in, make_event()).status_code for _ in range(2)]

    assert statuses == [500, 502]
    assert [(fault["fault"]["kind"], fault["fired"]) for fault in stand_in.faults()] == [("status", 1), ("html", 1)]
    stand_in.clear_faults()
    assert stand_in.faults() == []


def test_a_misspelled_fault_is_refused(stand_in: StandIn) -> None:
    """A plan that would never happen is an error, not a silent pass."""
    with pytest.raises(ValueError, match="was refused"):
        stand_in.set_faults([{"kind": "status", "when": {"nht": 1}}])


# Settings


def test_usage_rises_with_each_request(stand_in: StandIn) -> None:
    """The usage headers rise per request, up to 100 percent."""
    stand_in.set_settings(usage={"app": {"call_count": 10}, "rise_per_request": 50})
    answers = [send(stand_in, make_event()) for _ in range(3)]

    assert [json.loads(answer.headers["x-app-usage"])["call_count"] for answer in answers] == [10, 60, 100]


def test_business_usage_has_metas_members(stand_in: StandIn) -> None:
    """The business header is a list per id, with the minutes until access is regained."""
    business = {"business_id": "7", "call_count": 60, "estimated_time_to_regain_access": 12}
    stand_in.set_settings(usage={"business": business, "rise_per_request": 40})
    below = json.loads(send(stand_in, make_event()).headers["x-business-use-case-usage"])["7"]
    (entry,) = json.loads(send(stand_in, make_event()).headers["x-business-use-case-usage"])["7"]

    assert [told["estimated_time_to_regain_access"] for told in below] == [0]

    assert entry["estimated_time_to_regain_access"] == 12
    assert entry.keys() >= {"type", "call_count", "total_cputime", "total_time", "ads_api_access_tier"}


def test_settings_change_only_what_is_given(stand_in: StandIn) -> None:
    """Members that are not given keep their value, and a restore brings back the first settings."""
    stand_in.set_settings(dataset_ids=["42"])

    assert send(stand_in, make_event(), url=stand_in.url(dataset_id="42")).status_code == 200
    stand_in.restore_settings()
    assert read_codes(send(stand_in, make_event(), url=stand_in.url(dataset_id="42"))) == (400, 100, 33)


def test_the_clock_can_be_moved(stand_in: StandIn) -> None:
    """An offset of the clock moves the limit for events that are too old."""
    stand_in.set_settings(now_offset_s=8 * 86400)

    assert read_codes(send(stand_in, make_event())) == (400, 100, 2804003)


def test_tokens_are_never_shown(stand_in: StandIn) -> None:
    """No route of the stand-in gives a token away."""
    stand_in.set_settings(tokens=["very-secret"])
    send(stand_in, make_event(), token="very-secret")
    send(stand_in, make_event(), url=f"{stand_in.url()}?access_token=very-secret", token="very-secret")
    routes = ("/", "/_stand_in/settings", "/_stand_in/events", "/_stand_in/requests", "/_stand_in/stats")

    assert all("very-secret" not in requests.get(stand_in.base_url + route, timeout=TIMEOUT_S).text for route in routes)


# What arrived


def test_duplicates_are_kept_and_counted(stand_in: StandIn) -> None:
    """An event id that was processed twice is listed twice, and is counted."""
    send(stand_in, make_event(1), make_event(2))
    send(stand_in, make_event(1))

    assert [event["times_processed"] for event in stand_in.events()] == [2, 1, 2]
    assert stand_in.stats()["duplicates"] == {"event-1": 2}


def test_each_event_says_how_it_arrived(stand_in: StandIn) -> None:
    """An accepted event is kept unchanged, with time, request number and test code."""
    send(stand_in, make_event(), test_event_code="TEST1")
    (kept,) = stand_in.events()

    assert kept == {
        "request": 1, "received_at": "2026-09-05T09:20:00.000+00:00", "test_event_code": "TEST1",
        "event": make_event(), "times_processed": 1,
    }  # fmt: skip


def test_every_request_is_on_record(stand_in: StandIn) -> None:
    """Refused requests are recorded with their codes, accepted ones with their count."""
    send(stand_in, make_event(1), make_event(2))
    send(stand_in, make_event(event_time=1))
    seen = [(one["number"], one["events"], one["status"], one["error_code"], one["error_subcode"], one["processed"])
            for one in stand_in.requests()]  # fmt: skip

    assert seen == [(1, 2, 200, None, None, 2), (2, 1, 400, 100, 2804003, 0)]


def test_stats_count_what_matters(stand_in: StandIn) -> None:
    """Events and requests are counted by stage, day, identifier, test code and answer."""
    send(stand_in, make_event(1), make_event(2, event_name="Sale", event_time=NOW_UNIX_S - 86400), test_event_code="T")
    stats = stand_in.stats()

    assert stats["per_event_name"] == {"Lead": 1, "Sale": 1}
    assert stats["per_day"] == {"2026-09-04": 1, "2026-09-05": 1}
    assert stats["per_identifier"] == {"lead_id": 2, "em": 2, "fn": 2}
    assert (stats["per_test_event_code"], stats["per_answer"]) == ({"T": 2}, {"200": 1})


def test_events_come_in_pages(stand_in: StandIn) -> None:
    """A page says where the next one starts; the last one says that there is none."""
    send(stand_in, *(make_event(number) for number in range(5)))
    url = f"{stand_in.base_url}/_stand_in/events"
    pages = [requests.get(url, params={"offset": at, "limit": 2}, timeout=TIMEOUT_S).json() for at in (0, 2, 4)]

    assert [page["next_offset"] for page in pages] == [2, 4, None]
    assert [len(page["events"]) for page in pages] == [2, 2, 1]


def test_events_are_filtered(stand_in: StandIn) -> None:
    """Events are filtered by name and test code; `-` asks for the live ones."""
    send(stand_in, make_event(1), make_event(2, event_name="Sale"))
    send(stand_in, make_event(3), test_event_code="T")
    filters = [{"event_name": "Sale"}, {"test_event_code": "T"}, {"test_event_code": "-"}, {"event_name": "None"}]
    found = [[one["event"]["event_id"] for one in stand_in.events(**chosen)] for chosen in filters]

    assert found == [["event-2"], ["event-3"], ["event-1", "event-2"], []]


def test_forgetting_forgets_all(stand_in: StandIn) -> None:
    """After a reset nothing is left, and requests count from 1 again."""
    send(stand_in, make_event())
    stand_in.reset()

    assert (stand_in.events(), stand_in.requests(), stand_in.stats()["events"]) == ([], [], 0)


@pytest.mark.parametrize("process", ["first", "after"])
def test_forgetting_forgets_what_is_still_under_way(stand_in: StandIn, process: str) -> None:
    """A slow request from before a reset does not appear among later ones, and is not mistaken for one of them."""
    stand_in.set_faults([{"kind": "slow", "seconds": 0.5, "process": process}])
    with pytest.raises(requests.exceptions.ReadTimeout):
        send(stand_in, make_event(1), timeout_s=0.1)
    wait_for_fault(stand_in)
    stand_in.reset()
    stand_in.set_settings(now_unix_s=NOW_UNIX_S)
    send(stand_in, make_event(2))
    time.sleep(0.6)

    assert [event["event"]["event_id"] for event in stand_in.events()] == ["event-2"]
    assert [(record["number"], record["processed_unseen"]) for record in stand_in.requests()] == [(1, False)]


# The file


def test_history_survives_a_restart(tmp_path: Path) -> None:
    """With a file, a second start shows what the first one received, and continues its counts."""
    seen: list[tuple[Any, ...]] = []
    for _ in range(2):
        with running_stand_in(tmp_path / "events.jsonl") as stand_in:
            stand_in.set_settings(now_unix_s=NOW_UNIX_S)
            before = (stand_in.events(), stand_in.requests(), stand_in.stats())
            send(stand_in, make_event(), test_event_code="T")
            seen.append((before, (stand_in.events(), stand_in.requests(), stand_in.stats())))

    assert seen[1][0] == seen[0][1]
    assert seen[1][1][2]["duplicates"] == {"event-1": 2}
    assert [record["number"] for record in seen[1][1][1]] == [1, 2]


def test_half_a_record_is_cut_off(tmp_path: Path) -> None:
    """What a killed process wrote only in part is dropped: no client was told that it arrived."""
    path = tmp_path / "events.jsonl"
    with running_stand_in(path) as stand_in:
        stand_in.set_settings(now_unix_s=NOW_UNIX_S)
        send(stand_in, make_event(1))
        whole = path.read_bytes()
        send(stand_in, make_event(2))
    path.write_bytes(path.read_bytes()[:-20])
    with running_stand_in(path) as stand_in:
        kept = stand_in.stats()["events"]

    assert (kept, path.read_bytes()) == (1, whole)


def test_a_client_that_hung_up_stays_on_record(tmp_path: Path) -> None:
    """Requests whose client was not told are still marked after a restart."""
    with running_stand_in(tmp_path / "events.jsonl") as stand_in:
        stand_in.set_settings(now_unix_s=NOW_UNIX_S)
        stand_in.set_faults([{"kind": "slow", "seconds": 0.5}])
        with pytest.raises(requests.exceptions.ReadTimeout):
            send(stand_in, make_event(), timeout_s=0.05)
        wait_for(stand_in, requests_done=1, unseen=1)
    with running_stand_in(tmp_path / "events.jsonl") as stand_in:
        assert stand_in.stats()["requests_processed_unseen"] == 1


def test_the_file_holds_no_token(tmp_path: Path) -> None:
    """The token is not stored, wherever it came in."""
    path = tmp_path / "events.jsonl"
    with running_stand_in(path) as stand_in:
        stand_in.set_settings(now_unix_s=NOW_UNIX_S)
        send(stand_in, make_event(), access_token=stand_in.token)

    assert stand_in.token not in path.read_text()


def test_a_foreign_file_is_left_alone(tmp_path: Path) -> None:
    """A file with other contents is neither read nor changed."""
    path = tmp_path / "notes.jsonl"
    path.write_text("my notes\n")

    with pytest.raises(RequestLogError, match="line 1"), running_stand_in(path):
        pass
    assert path.read_text() == "my notes\n"


def test_two_stand_ins_do_not_share_a_file(tmp_path: Path) -> None:
    """A second stand-in on the same file says that the file is in use."""
    path = tmp_path / "events.jsonl"

    with running_stand_in(path), pytest.raises(RequestLogError, match="in use"), running_stand_in(path):
        pass


# The page


def read_page(stand_in: StandIn, **filters: str) -> str:
    answer = requests.get(f"{stand_in.base_url}/", params=filters, timeout=TIMEOUT_S)
    answer.raise_for_status()
    return answer.text


def test_an_empty_page_says_what_to_do(stand_in: StandIn) -> None:
    """Before the first event the page says so."""
    assert "No event has arrived yet" in read_page(stand_in)


def test_the_page_shows_names_and_not_hashes_first(stand_in: StandIn) -> None:
    """An event shows which identifiers it carries; the hashes are only inside its folded JSON."""
    send(stand_in, make_event())
    row = read_page(stand_in).partition("<tbody>")[2].partition("<details>")[0]

    assert '<span class="chip">lead_id</span><span class="chip">em</span><span class="chip">fn</span>' in row
    assert sha256("ada") not in row


def test_the_page_filters(stand_in: StandIn) -> None:
    """Stage and test code in the query string choose the events."""
    send(stand_in, make_event(1), make_event(2, event_name="Sale"))
    page = read_page(stand_in, event_name="Sale")

    assert "event-2" in page
    assert "event-1" not in page


def test_the_page_shows_requests_with_their_answers(stand_in: StandIn) -> None:
    """The page shows refusals, resets, and requests whose client was not told."""
    send(stand_in, make_event(event_time=1))
    stand_in.set_faults([{"kind": "reset_after"}])
    with pytest.raises(requests.exceptions.ConnectionError):
        send(stand_in, make_event())
    page = read_page(stand_in)

    assert "400 100/2804003" in page
    assert "planned fault: reset_after; 1 processed, but the client was not told" in page


def test_the_page_escapes_what_was_sent(stand_in: StandIn) -> None:
    """Markup in a stage name is shown as text."""
    send(stand_in, make_event(event_name="<script>alert(1)</script>"))

    assert "<script>" not in read_page(stand_in)


def test_the_page_needs_nothing_from_elsewhere(stand_in: StandIn) -> None:
    """The page contains no address of another host."""
    send(stand_in, make_event())

    assert "://" not in read_page(stand_in)


def test_other_host_names_are_not_answered(stand_in: StandIn) -> None:
    """A web page cannot read the stand-in by pointing its own name at this computer."""
    answer = requests.get(stand_in.base_url, headers={"Host": "evil.example"}, timeout=TIMEOUT_S)

    assert answer.status_code == 400


# The server


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_server_starts_and_stops_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    """It writes its port once it listens, takes its tokens from the environment, and ends with 0 and no port file."""
    port_file = tmp_path / "run" / "port"
    with start_server("--port-file", str(port_file), "--dataset-id", "42") as process:
        base_url = f"http://127.0.0.1:{int(port_file.read_text())}"
        with_token = StandIn(base_url, dataset_id="42", token="from-environment")
        accepted = send(with_token, make_event(event_time=int(time.time())))
        with_token.close()
        process.send_signal(number)
        exit_code = process.wait(TIMEOUT_S)

        assert (accepted.status_code, exit_code, port_file.exists()) == (200, 0, False)
        assert process.stderr is not None
        assert process.stderr.read() == b""


@contextmanager
def start_server(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a stand-in in a process of its own that has printed its line; it is always gone after the block."""
    environment = os.environ | {"PYTHONPATH": str(INCLUDE), "META_STAND_IN_TOKENS": "other, from-environment"}
    command = [sys.executable, "-m", "crm_to_meta_demo.meta_stand_in.server", *arguments]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert select.select([process.stdout], [], [], TIMEOUT_S)[0]
            assert process.stdout.readline().startswith(b"Stand-in for Meta: http://127.0.0.1:")
            yield process
        finally:
            process.kill()


def test_other_hosts_are_refused() -> None:
    """It listens on the loopback address and on nothing else."""
    command = [sys.executable, "-m", "crm_to_meta_demo.meta_stand_in.server", "--host", "0.0.0.0"]
    environment = os.environ | {"PYTHONPATH": str(INCLUDE)}
    ended = subprocess.run(command, env=environment, capture_output=True, timeout=TIMEOUT_S, check=False)

    assert ended.returncode == 2
    assert b"invalid choice: '0.0.0.0'" in ended.stderr
