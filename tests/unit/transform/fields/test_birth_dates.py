"""A date of birth becomes YYYYMMDD where it is one, by the order that the source declares."""

from __future__ import annotations

from datetime import date

import pytest
from field_cases import cases

from crm_to_meta.models import DropReason
from crm_to_meta.transform.fields.birth_dates import DateOrder, normalize_date_of_birth


@pytest.mark.parametrize("order", DateOrder, ids=lambda order: order.value)
@cases(
    ("1997-02-03", "19970203"),
    ("1997/2/3", "19970203"),
    ("1997. 02. 03", "19970203"),
    ("19970203", "19970203"),
    ("1997-02-03T00:00:00Z", "19970203"),
    ("1997-02-03 00:00:00.000+00", "19970203"),
    ("١٩٩٧-٠٢-٠٣", "19970203"),
    ("2/16/1997", "19970216"),
    ("16.02.1997", "19970216"),
    ("16 - 2 - 1997", "19970216"),
    ("5/5/1997", "19970505"),
    ("2000-02-29", "20000229"),
)
def test_date_with_one_reading_needs_no_order(text: str, expected: str, order: DateOrder) -> None:
    """Year first is always understood, and where the calendar allows one reading only, that is the date."""
    assert normalize_date_of_birth(text, order) == expected


@pytest.mark.parametrize("text", ["02/03/1997", "2.3.1997", "2-3-1997 00:00", "02031997"])
@pytest.mark.parametrize(
    ("order", "expected"),
    [(DateOrder.DAY_FIRST, "19970302"), (DateOrder.MONTH_FIRST, "19970203")],
    ids=["day", "month"],
)
def test_date_with_two_readings_follows_the_declared_order(text: str, order: DateOrder, expected: str) -> None:
    """Nobody but the source's owner knows whether 02/03 is in February or in March."""
    assert normalize_date_of_birth(text, order) == expected


def test_date_with_two_readings_and_no_order_is_dropped() -> None:
    """Without a declared order such a date would be right for some people and wrong for others."""
    assert normalize_date_of_birth("02/03/1997") is DropReason.DATE_AMBIGUOUS


@pytest.mark.parametrize("order", DateOrder, ids=lambda order: order.value)
@pytest.mark.parametrize(
    "text",
    [
        "1997-02-31",
        "1900-02-29",
        "31/02/1997",
        "13/13/1997",
        "12345678",
        "02/03/97",
        "1997",
        "0",
        "unknown",
        "1997-02-03x",
    ],
)
def test_date_that_no_calendar_has_is_dropped(text: str, order: DateOrder) -> None:
    """A 31st of February, a two-digit year or free text is no date of birth."""
    assert normalize_date_of_birth(text, order) is DropReason.NOT_A_DATE


@cases(
    ("1899-12-31", DropReason.DATE_OUT_OF_RANGE),
    ("1900-01-01", "19000101"),
    ("2026-05-01", "20260501"),
    ("2026-05-02", DropReason.DATE_OUT_OF_RANGE),
    ("9999-12-31", DropReason.DATE_OUT_OF_RANGE),
)
def test_date_lies_between_1900_and_today(text: str, expected: str | DropReason) -> None:
    """Docs accept years from 1900 to the current one; nobody is born tomorrow."""
    assert normalize_date_of_birth(text, today=date(2026, 5, 1)) == expected
