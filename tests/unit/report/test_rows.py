"""The CSV of rows by reason does no harm in a spreadsheet."""

from __future__ import annotations

import csv
import io

import pytest

from crm_to_meta.report.rows import LONGEST_ID, disarm, shorten_id, write_csv_line

FORMULAS = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(1)",
    "\t=1+1",
    "\r=1",
    "\n=1",
    "  =1+1",
    "-cmd",
    "\uff1d1+1",
    "\uff0b1",
    "\uff0d1",
    "\uff20x",
    "=cmd|' /C calc'!A0",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_disarmed(text: str) -> None:
    """What a spreadsheet would run begins with an apostrophe, and is whole behind it."""
    assert disarm(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "t-1", "17", "-17", "+17", "a=1", "lead@x", "550e8400-e29b", "won, then lost"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    """Ids must be found again in the CRM: a plain number, also a negative one, is no formula."""
    assert disarm(text) == text


@pytest.mark.parametrize("text", ['say "hi"', "a,b", "a;b", "two\nlines", "=1+1", "it's", None])
def test_a_line_is_read_back_as_it_was_written(text: str | None) -> None:
    """Each cell is in quotes, so that no separator, quote or line break in it starts another one."""
    line = write_csv_line((text, "x"))

    assert next(csv.reader(io.StringIO(line, newline=""))) == [disarm(text or ""), "x"]
    assert line.startswith('"')
    assert line.endswith('"\r\n')


def test_an_id_on_the_page_is_one_short_line() -> None:
    """Line breaks, and what turns the direction of a text, are shown as a replacement character; a long id is cut."""
    assert shorten_id("a\nb\u202ec") == "a\ufffdb\ufffdc"
    assert shorten_id("x" * 500) == "x" * LONGEST_ID + "\u2026"
