"""What an answer means is decided by status, code and subcode: never by text, and "delivered" never lightly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crm_to_meta.meta.answers import RULES, Action, Answer, AnswerRule, classify

SHARED_FOLDER = Path(__file__).resolve().parents[3].parent / "shared"  # as in tests/conftest.py
VECTORS = SHARED_FOLDER / "vectors" / "meta_errors.json"
ACTIONS_OF_CATEGORY = {
    "success": {Action.DELIVERED},
    "transient": {Action.RETRY, Action.REDUCE, Action.IN_DOUBT},  # in doubt: sent again as well, and counted
    "rate-limit": {Action.RATE_LIMIT},
    "auth": {Action.AUTH},
    "config": {Action.CONFIGURATION},
    "payload": {Action.PAYLOAD},
    "in-doubt": {Action.IN_DOUBT},
    "unknown": {Action.UNKNOWN},
}
LARGEST_INTEGER = 2**31 - 1  # of an integer column of PostgreSQL


def error_body(code: object = None, subcode: object = None, **members: Any) -> bytes:
    """Return an error as Meta writes it; members that are None are left out."""
    error = {"code": code, "error_subcode": subcode, "message": "Invalid parameter", "type": "OAuthException"} | members
    return json.dumps({"error": {name: value for name, value in error.items() if value is not None}}).encode()


def action_of(http_status: int, body: bytes, *, events: int = 1) -> Action:
    """Return what an answer without headers means."""
    return classify(http_status, body, events=events).action


# --- Recorded answers -------------------------------------------------------------------------------------------------


def read_vectors() -> list[Any]:
    """Return the recorded answers, each under its name."""
    vectors = json.loads(VECTORS.read_text(encoding="utf-8")) if VECTORS.exists() else []
    return [pytest.param(vector, id=vector["name"]) for vector in vectors]


def body_of(vector: dict[str, Any]) -> bytes:
    """Return a recorded body as bytes."""
    return vector["body"].encode() if isinstance(vector["body"], str) else json.dumps(vector["body"]).encode()


@pytest.mark.skipif(not VECTORS.exists(), reason=f"the vectors are not part of the repository: {VECTORS}")
@pytest.mark.parametrize("vector", read_vectors())
def test_recorded_answers_fall_into_their_category(vector: dict[str, Any]) -> None:
    """Answers that somebody got from Meta mean what they turned out to mean."""
    action = action_of(vector["http_status"], body_of(vector))

    assert action in ACTIONS_OF_CATEGORY[vector["category"]]


@pytest.mark.skipif(not VECTORS.exists(), reason=f"the vectors are not part of the repository: {VECTORS}")
@pytest.mark.parametrize("vector", [row for row in read_vectors() if "error" in row.values[0]["body"]])
def test_text_in_any_language_changes_nothing(vector: dict[str, Any]) -> None:
    """`error_user_title` and `error_user_msg` are localised: they have no influence."""
    words = {
        "error_user_title": "(#190) Berechtigung",
        "error_user_msg": "ratelimit 613 トークン",
        "is_transient": True,
    }
    translated = {"error": vector["body"]["error"] | words}

    answer = classify(vector["http_status"], json.dumps(translated).encode(), events=1)

    assert answer == classify(vector["http_status"], body_of(vector), events=1)


# --- The table of codes -----------------------------------------------------------------------------------------------

TABLE = {
    Action.REDUCE: [(1, None)],
    Action.RETRY: [(2, None), (2, 1504044), (21009, None)],
    Action.RATE_LIMIT: [
        *((code, None) for code in (4, 17, 32, 341, 368, 613, *range(80000, 80010), 80014)),
        *[(4, 1504022), (4, 1504039), (17, 2446079), (80004, 2446079), (613, 1487742), (613, 5044001)],
    ],
    Action.AUTH: [
        *((code, None) for code in (190, 102, 104, 3, 10, 200, 294, 299)),
        *((190, subcode) for subcode in (458, 459, 460, 463)),
    ],
    Action.CONFIGURATION: [(100, 33), (100, 34), (2635, None)],
    Action.PAYLOAD: [
        (100, None),
        (100, 1),
        *((100, 2804000 + rest) for rest in (1, 3, 4, 7, 9, 16, 17, 19, 23, 36, 43, 48, 50, 66, 116, 131, 132)),
    ],
    Action.UNKNOWN: [(0, None), (5, 12), (33, None), (199, None), (300, None), (80010, None), (2804003, None)],
}
ROWS = [
    pytest.param(code, subcode, action, id=f"{code}-{subcode}-{action}")
    for action, pairs in TABLE.items()
    for code, subcode in pairs
]


@pytest.mark.parametrize(("code", "subcode", "action"), ROWS)
def test_code_and_subcode_decide(code: int, subcode: int | None, action: Action) -> None:
    """Each row of the facts about Meta's errors, as it usually comes: under HTTP 400."""
    assert action_of(400, error_body(code, subcode)) is action


@pytest.mark.parametrize("http_status", [200, 400, 403, 404, 429, 500, 503])
@pytest.mark.parametrize(("code", "subcode", "action"), [row for row in ROWS if row.values[2] is not Action.UNKNOWN])
def test_a_known_code_outranks_the_status(code: int, subcode: int | None, action: Action, http_status: int) -> None:
    """An expired token was seen under HTTP 500, rate limits under 400, 403, 429 and 500."""
    assert action_of(http_status, error_body(code, subcode)) is action


@pytest.mark.parametrize(("code", "subcode", "action"), ROWS)
def test_codes_may_be_written_as_text(code: int, subcode: int | None, action: Action) -> None:
    """`"190"` is 190."""
    assert action_of(400, error_body(str(code), None if subcode is None else str(subcode))) is action


@pytest.mark.parametrize("is_transient", [True, False])
def test_the_transient_flag_decides_nothing(is_transient: bool) -> None:  # noqa: FBT001 - a parameter
    """Code 2 healed with `is_transient: false`; a bad event does not heal with true."""
    assert action_of(400, error_body(2, 1504044, is_transient=is_transient)) is Action.RETRY
    assert action_of(400, error_body(100, 2804003, is_transient=is_transient)) is Action.PAYLOAD


@pytest.mark.parametrize(
    ("error_type", "subcode", "action"),
    [
        ("GraphMethodException", None, Action.CONFIGURATION),  # appsecret_proof
        ("GraphMethodException", 2804036, Action.PAYLOAD),
        ("OAuthException", None, Action.PAYLOAD),
        (["GraphMethodException"], None, Action.PAYLOAD),
        (None, None, Action.PAYLOAD),
    ],
    ids=repr,
)
def test_code_100_without_a_subcode_is_told_apart_by_its_type(
    error_type: object, subcode: int | None, action: Action
) -> None:
    """A wrong app secret has code 100 like a bad event; the type of the error is no text, and is another one."""
    assert action_of(400, error_body(100, subcode, type=error_type)) is action


@pytest.mark.parametrize("message", ["(#100) Missing permissions", "Unsupported post request", "", None, ["x"]])
def test_no_message_changes_what_is_done(message: object) -> None:
    """Texts are localised and change; a missing permission under code 100 shows by refusing everything (ADR 0006)."""
    assert action_of(400, error_body(100, message=message)) is Action.PAYLOAD


def test_each_rule_has_a_source_and_the_last_one_fits_everything() -> None:
    """The table says where each line comes from, and leaves no answer without an action."""
    assert all(rule.source for rule in RULES)
    assert RULES[-1] == AnswerRule(action=Action.IN_DOUBT, source=RULES[-1].source)


def test_an_oauth_error_without_a_code_is_about_the_token() -> None:
    """The type alone is enough where there is nothing else."""
    assert action_of(400, error_body(None, type="OAuthException")) is Action.AUTH
    assert action_of(400, error_body(None, type="GraphMethodException")) is Action.UNKNOWN
    assert action_of(400, error_body(5, type="OAuthException")) is Action.UNKNOWN


@pytest.mark.parametrize("code", [None, 5])
@pytest.mark.parametrize(
    ("http_status", "action"),
    [
        (400, Action.UNKNOWN),
        (412, Action.UNKNOWN),
        (429, Action.RATE_LIMIT),
        (200, Action.IN_DOUBT),
        (500, Action.IN_DOUBT),
        (502, Action.IN_DOUBT),
        (504, Action.IN_DOUBT),
    ],
)
def test_an_error_without_a_known_code_is_judged_by_its_status(
    code: int | None, http_status: int, action: Action
) -> None:
    """A gateway's `{"error": {"message": "upstream timeout"}}` under 504 does not say that Meta took nothing."""
    assert action_of(http_status, error_body(code, message="upstream timeout", type="gateway")) is action


# --- Success ----------------------------------------------------------------------------------------------------------


def test_a_success_has_the_exact_count() -> None:
    """200 and as many events as were sent, `messages` or not."""
    answer = classify(200, b'{"events_received":3,"fbtrace_id":"A1"}', events=3)

    assert answer == Answer(action=Action.DELIVERED, http_status=200, fbtrace_id="A1", events_received=3)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"events_received":2}', id="fewer"),
        pytest.param(b'{"events_received":4}', id="more"),
        pytest.param(b'{"events_received":0}', id="none"),
        pytest.param(b'{"events_received":null}', id="null"),
        pytest.param(b'{"events_received":true}', id="true"),
        pytest.param(b'{"events_received":3.0}', id="float"),
        pytest.param(b'{"events_received":[3]}', id="list"),
        pytest.param(b'{"events_received":"three"}', id="word"),
        pytest.param(b"{}", id="no count"),
        pytest.param(b"[3]", id="a list"),
        pytest.param(b"3", id="a number"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"<html>OK</html>", id="HTML"),
        pytest.param(b'{"events_received":3', id="cut off"),
        pytest.param(b"\xff\xfe", id="no text"),
    ],
)
def test_a_success_without_the_exact_count_is_in_doubt(body: bytes) -> None:
    """Something was received, nobody knows what."""
    assert action_of(200, body, events=3) is Action.IN_DOUBT


def test_true_does_not_count_as_one_event() -> None:
    """In Python `True == 1`; in an answer it is no count."""
    assert action_of(200, b'{"events_received":true}', events=1) is Action.IN_DOUBT


@pytest.mark.parametrize("http_status", [201, 202, 204, 301, 400, 500])
def test_another_status_is_never_a_success(http_status: int) -> None:
    """Only 200 is what Meta documents."""
    assert action_of(http_status, b'{"events_received":1}') is not Action.DELIVERED


# --- Answers that are not Meta's --------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'"x"', b'{"error":"x"}', b'{"error":[{}]}', b"{"])
@pytest.mark.parametrize(
    ("http_status", "action"),
    [
        (301, Action.UNKNOWN),
        (302, Action.UNKNOWN),
        (400, Action.UNKNOWN),
        (404, Action.UNKNOWN),
        (413, Action.UNKNOWN),
        (429, Action.RATE_LIMIT),
        (500, Action.IN_DOUBT),
        (502, Action.IN_DOUBT),
        (503, Action.IN_DOUBT),
        (204, Action.IN_DOUBT),
    ],
)
def test_a_body_that_says_nothing_is_judged_by_its_status(http_status: int, action: Action, body: bytes) -> None:
    """HTML and empty bodies come from what is in between: 4xx never reached Meta's work, 5xx may have."""
    assert action_of(http_status, body) is action


@pytest.mark.parametrize("code", [True, [190], {"code": 190}, 190.0, "1e2", "١٩٠", "-190", " 190", "", "x"], ids=repr)
def test_a_code_of_another_type_is_no_code(code: object) -> None:
    """Only an integer, or a text of plain digits, is a code."""
    answer = classify(400, error_body(code, type="other"), events=1)

    assert (answer.code, answer.action) == (None, Action.UNKNOWN)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * 100_000, id="brackets"),
        pytest.param(b'{"error":' * 100_000, id="errors in errors"),
        pytest.param(b'{"error":{"code":100,"message":' + b"[" * 900 + b"]" * 900 + b"}}", id="deep message"),
        pytest.param(b'{"error":{"code":' + b"9" * 5000 + b"}}", id="endless number"),
        pytest.param(b'{"error":{"code":"' + b"9" * 5000 + b'"}}', id="endless number as text"),
        pytest.param(b'{"events_received":"' + b"9" * 5000 + b'"}', id="endless count as text"),
        pytest.param(b'{"error":{"code":1e999}}', id="infinite"),
        pytest.param(b'{"error":{"code":NaN}}', id="NaN"),
    ],
)
def test_a_body_made_to_hurt_is_only_odd(body: bytes) -> None:
    """Nesting and endless numbers raise nothing and deliver nothing."""
    assert action_of(400, body) in {Action.UNKNOWN, Action.PAYLOAD}
    assert action_of(200, body) is not Action.DELIVERED


any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.sampled_from([1, 100, 190, "190", 200, 2**31, 2**63, 33, 2804036, "OAuthException"]),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "code", "error_subcode", "fbtrace_id", "events_received", "type", "message"]),
            children,
        )
    ),
    max_leaves=12,
)
any_body = st.binary(max_size=200) | any_json.map(lambda value: json.dumps(value).encode())
any_status = st.integers(100, 599) | st.sampled_from([200, 400, 429, 500])
any_header = st.dictionaries(
    st.sampled_from(["Retry-After", "retry-after", "X-Other"]), st.text(max_size=12) | st.just("9" * 500)
)


@given(http_status=any_status, body=any_body, events=st.integers(1, 1000), headers=any_header)
@example(http_status=200, body=b'{"events_received":"1"}', events=1, headers={})
@settings(deadline=None, max_examples=500)
def test_whatever_comes_is_classified_and_fits_its_record(
    http_status: int, body: bytes, events: int, headers: dict[str, str]
) -> None:
    """Nothing raises, only 200 with the exact count is delivered, and all can be written into `capi.request`."""
    answer = classify(http_status, body, events=events, headers=headers)

    is_exact = answer.events_received == events and http_status == 200 and answer.code is None
    assert (answer.action is Action.DELIVERED) <= is_exact
    numbers = [answer.code, answer.subcode, answer.events_received]
    assert all(number is None or abs(number) <= LARGEST_INTEGER for number in numbers)
    assert answer.fbtrace_id is None or (answer.fbtrace_id.isascii() and answer.fbtrace_id.isprintable())
    assert answer.retry_after_s is None or 0 <= answer.retry_after_s < 1_000_000


# --- What an answer carries -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"message": '(#100) Unexpected key "x" on param "$[\'data\'][0]".'}, 0),
        ({"error_user_msg": "$['data'][7]['user_data']['em'] ist ungültig."}, 7),
        ({"error_data": {"blame_field_specs": [["$['data'][3]"]]}}, 3),
        ({"error_data": '{"blame_field_specs":[["$[\'data\'][3]"]]}'}, 3),
        ({"message": "$['data'][2]", "error_user_msg": "$['data'][2]['event_time']"}, 2),
        ({"message": "$['data'][2] and $['data'][4]"}, None),
        ({"message": "$['data'][10]"}, None),
        ({"message": "$['data'][99999999999]"}, None),
        ({"message": "$['data'][-1]", "error_data": 5, "error_user_msg": None}, None),
        ({}, None),
    ],
    ids=repr,
)
def test_the_place_of_a_fault_is_a_hint(members: dict[str, Any], place: int | None) -> None:
    """Where Meta names exactly one of the events that were sent, the answer says which; it changes nothing else."""
    answer = classify(400, error_body(100, 2804019, **members), events=10)

    assert (answer.place, answer.action) == (place, Action.PAYLOAD)


@pytest.mark.parametrize(
    ("message", "ended"),
    [
        (
            "Session has expired on Sunday, 22-Nov-26 08:00:00 PST. The time is Sunday, 22-Nov-26 09:10:11 PST.",
            "22-Nov-26 08:00:00 PST",
        ),
        ("The access token jane@example.com has expired.", None),
        (["22-Nov-26"], None),
        (None, None),
    ],
)
def test_an_expired_token_says_since_when(message: object, ended: str | None) -> None:
    """The first date of Meta's message is passed on to whoever has to renew the token, and nothing else of it."""
    assert classify(400, error_body(190, 463, message=message), events=1).token_ended == ended


def test_an_answer_carries_ids_and_numbers() -> None:
    """What Meta's support asks for is kept; texts are not."""
    body = error_body(190, 463, fbtrace_id="EJplcsCHuLu", error_user_msg="Your session, jane@example.com, has expired")

    answer = classify(401, body, events=7, headers={"Retry-After": "30"}, duration_ms=12)

    assert answer == Answer(
        action=Action.AUTH,
        http_status=401,
        code=190,
        subcode=463,
        fbtrace_id="EJplcsCHuLu",
        retry_after_s=30.0,
        duration_ms=12,
    )
    assert "jane" not in repr(answer)


@pytest.mark.parametrize(
    ("given_id", "kept"),
    [
        ("A6UyEgg_HdoiRX9duxcBOjb", "A6UyEgg_HdoiRX9duxcBOjb"),
        ("x" * 500, "x" * 100),
        ("A\x00B", None),
        ("A\nB", None),
        ("\ud800", None),
        ("ü", None),
        (5, None),
        (None, None),
    ],
    ids=ascii,
)
def test_a_trace_id_is_plain_text(given_id: object, kept: str | None) -> None:
    """PostgreSQL refuses NUL and lone surrogates: an odd id must not keep an answer from being written down."""
    for body in ({"error": {"code": 1, "fbtrace_id": given_id}}, {"events_received": 1, "fbtrace_id": given_id}):
        assert classify(400, json.dumps(body).encode(), events=1).fbtrace_id == kept


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30", 30.0),
        ("0", 0.0),
        ("999999", 999999.0),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("yesterday", None),
        ("9" * 400, None),
    ],
)
@pytest.mark.parametrize("name", ["Retry-After", "retry-after", "RETRY-AFTER"])
def test_a_pause_is_a_number_of_seconds(name: str, header: str, seconds: float | None) -> None:
    """Whole seconds, in a header of any case; anything else leaves the pause to us."""
    assert classify(429, b"", events=1, headers={name: header}).retry_after_s == seconds


@pytest.mark.parametrize(
    ("until", "seconds"),
    [
        ("Wed, 21 Oct 2026 07:28:00 GMT", 480),
        ("Wednesday, 21-Oct-26 07:28:00 GMT", 480),
        ("Wed Oct 21 07:28:00 2026", 480),
        ("Wed, 21 Oct 2026 07:10:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 999_999),
        ("Wed, 99 Oct 2026 07:28:00 GMT", None),
    ],
)
def test_a_pause_may_end_at_a_date(until: str, seconds: float | None) -> None:
    """RFC 9110 has three ways to write a date; it is compared with the answer's own, since clocks differ."""
    headers = {"Retry-After": until, "Date": "Wed, 21 Oct 2026 07:20:00 GMT"}

    assert classify(429, b"", events=1, headers=headers).retry_after_s == seconds


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (Answer(action=Action.AUTH, http_status=400, code=190, subcode=463), "auth_190_463"),
        (Answer(action=Action.RETRY, http_status=500, code=2), "retry_2"),
        (Answer(action=Action.UNKNOWN, http_status=404), "unknown_404"),
        (Answer(action=Action.IN_DOUBT), "in_doubt"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_answer_has_a_short_name(answer: Answer, name: str) -> None:
    """Messages and `stop_reason` name the answer by action and code, or by status where there is no code."""
    assert answer.name == name
    assert replace(answer, fbtrace_id="A1").name == name
