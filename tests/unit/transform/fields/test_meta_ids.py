"""Meta's own ids arrive exactly as they are, or not at all."""

from __future__ import annotations

import pytest
from field_cases import cases
from hypothesis import given
from hypothesis import strategies as st

from crm_to_meta.models import DropReason
from crm_to_meta.transform.fields.meta_ids import build_fbc, normalize_fbc, normalize_fbp, normalize_lead_id

CLICK_ID = "IwAR2F4-dbP0l7Mn1IawQQGCINEz7PYXQvwjNwB_qa2ofrHyiLjcbCRxTDMgk"
any_text = st.text(st.characters(exclude_categories=()))


@cases(
    ("1234567890123456", 1234567890123456),
    (" l:123456789012345 ", 123456789012345),
    ("12345678901234567", 12345678901234567),
    ("99999999999999999", 99999999999999999),
)
def test_lead_id_is_exact(text: str, expected: int) -> None:
    """All 15 to 17 digits arrive, also above 2**53, where a float would change the last one."""
    assert normalize_lead_id(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "12345678901234",
        "123456789012345678",
        "1234567890123456.0",
        "1.234567890123456e15",
        "1,234,567,890,123,456",
        "l:l:1234567890123456",
        "L:1234567890123456",
        "12345678 90123456",
        "+1234567890123456",
        "-1234567890123456",
        "٠١٢٣٤٥٦٧٨٩٠١٢٣٤٥",
        "000000000000001",
        "id 1234567890123456",
        "nan",
    ],
    ids=ascii,
)
def test_lead_id_that_is_not_15_to_17_digits_is_dropped(text: str) -> None:
    """Nothing is repaired: a lead id that went through a float or a spreadsheet is another lead's."""
    assert normalize_lead_id(text) is DropReason.LEAD_ID_INVALID


@pytest.mark.parametrize(
    "text", [f"fb.1.1554763741205.{CLICK_ID}", f"fb.2.1554763741205.{CLICK_ID}.AQ"], ids=["4", "5"]
)
def test_fbc_is_kept_as_it_is(text: str) -> None:
    """Its case matters; a fifth part comes from cookies of the parameter builder."""
    assert normalize_fbc(f" {text}\n") == text


@pytest.mark.parametrize(
    "text",
    [
        CLICK_ID,
        f"fb.1.1554763741.{CLICK_ID}",
        f"fb.1.1554763741205000.{CLICK_ID}",
        f"fb.x.1554763741205.{CLICK_ID}",
        f"FB.1.1554763741205.{CLICK_ID}",
        "fb.1.1554763741205.",
        f"fb.1.1554763741205.{CLICK_ID}&utm_source=x",
        f"fb.1.1554763741205.{CLICK_ID} x",
    ],
    ids=["no prefix", "seconds", "microseconds", "index", "case", "no id", "query", "blank"],
)
def test_fbc_that_is_malformed_is_dropped(text: str) -> None:
    """Meta does not refuse a bad click id but raises an alert over many of them."""
    assert normalize_fbc(text) is DropReason.FBC_MALFORMED


@pytest.mark.parametrize("text", ["fb.1.1596403881668.1116446470", "fb.1.1596403881668.1116446470.AQ"], ids=["4", "5"])
def test_fbp_is_kept_as_it_is(text: str) -> None:
    """A browser id is sent as the cookie has it."""
    assert normalize_fbp(f" {text} ") == text


@pytest.mark.parametrize("text", ["1116446470", "fb.1.1596403881.1116446470", "fb.1.1596403881668.abc"])
def test_fbp_that_is_malformed_is_dropped(text: str) -> None:
    """Version, index, milliseconds and a number: anything else is no browser id."""
    assert normalize_fbp(text) is DropReason.FBP_MALFORMED


def test_build_fbc_keeps_the_click_id_as_it_stood_in_the_url() -> None:
    """Version, the index of a server, milliseconds, and the click id in its own case and length."""
    assert build_fbc(f" {CLICK_ID} ", 1554763741205) == f"fb.1.1554763741205.{CLICK_ID}"


@pytest.mark.parametrize(
    ("fbclid", "created_at_unix_ms", "reason"),
    [
        pytest.param(" ", 1554763741205, DropReason.BLANK, id="blank"),
        pytest.param(CLICK_ID, 1554763741, DropReason.FBC_MALFORMED, id="seconds"),
        pytest.param(CLICK_ID, -1554763741205, DropReason.FBC_MALFORMED, id="before 1970"),
        pytest.param(f"{CLICK_ID}&x=1", 1554763741205, DropReason.FBC_MALFORMED, id="rest of the query"),
    ],
)
def test_build_fbc_refuses_what_meta_would_alert_on(fbclid: str, created_at_unix_ms: int, reason: DropReason) -> None:
    """A time in seconds or a click id with more of the URL behind it makes no fbc."""
    assert build_fbc(fbclid, created_at_unix_ms) is reason


@given(fbclid=any_text, created_at_unix_ms=st.integers())
def test_build_fbc_makes_a_valid_fbc_or_none(fbclid: str, created_at_unix_ms: int) -> None:
    """Whatever is built passes the check for a given fbc."""
    built = build_fbc(fbclid, created_at_unix_ms)

    assert isinstance(built, DropReason) or normalize_fbc(built) == built
