"""Normalise dates of birth to YYYYMMDD, or return the reason to leave the date out."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from enum import Enum
from typing import Final

from crm_to_meta.models import DropReason
from crm_to_meta.transform.fields.text import SHA256_LENGTH, is_sha256, read_text, write_ascii_digits


class DateOrder(Enum):
    """The order in which a source writes dates of birth. Dates that begin with the year are read under any of them."""

    YEAR_FIRST = "year_first"
    DAY_FIRST = "day_first"
    MONTH_FIRST = "month_first"


FIRST_BIRTH_YEAR: Final = 1900  # docs: from 1900 to the current year; the builder begins in 1800
_GAP: Final = r"[\s./\u2010-\u2015-]+"
_TIME: Final = r"(?:[t\s]+[0-9]{1,2}:[0-9:.,\sapmz+-]*)?"
_YEAR_LAST: Final = re.compile(rf"([0-9]{{1,2}}){_GAP}([0-9]{{1,2}}){_GAP}([0-9]{{4}}){_TIME}")
_YEAR_LAST_COMPACT: Final = re.compile(r"([0-9]{2})([0-9]{2})((?:19|20)[0-9]{2})")  # no YYYYMMDD has a month 19 or 20
_YEAR_FIRST: Final = re.compile(rf"([0-9]{{4}}){_GAP}([0-9]{{1,2}}){_GAP}([0-9]{{1,2}}){_TIME}")
_YEAR_FIRST_COMPACT: Final = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})")


def normalize_date_of_birth(
    text: str, order: DateOrder = DateOrder.YEAR_FIRST, *, today: date | None = None
) -> str | DropReason:
    """Normalise `db` to YYYYMMDD. A time of day is cut off.

    `order` decides between day and month where both are possible ("2/3/1997", not "2/16/1997"). Anything but a date, a
    date with two readings under YEAR_FIRST, and a date before 1900 or after `today` (by default in UTC) is dropped.
    """
    value = read_text(text)
    if not isinstance(value, str) or (len(value) == SHA256_LENGTH and is_sha256(value)):
        return value
    dates = _read_dates(write_ascii_digits(value), order)
    if len(dates) != 1:
        return DropReason.DATE_AMBIGUOUS if dates else DropReason.NOT_A_DATE
    born = dates.pop()
    is_in_range = born.year >= FIRST_BIRTH_YEAR and born <= (today or datetime.now(UTC).date())
    return f"{born:%Y%m%d}" if is_in_range else DropReason.DATE_OUT_OF_RANGE


def _read_dates(value: str, order: DateOrder) -> set[date]:
    if found := _YEAR_LAST.fullmatch(value) or _YEAR_LAST_COMPACT.fullmatch(value):
        first, second, year = map(int, found.groups())
        readings = {
            DateOrder.DAY_FIRST: _make_date(year, second, first),
            DateOrder.MONTH_FIRST: _make_date(year, first, second),
        }
        declared = readings.get(order)
        return {declared} if declared else {reading for reading in readings.values() if reading}
    found = _YEAR_FIRST.fullmatch(value) or _YEAR_FIRST_COMPACT.fullmatch(value)
    written = _make_date(*map(int, found.groups())) if found else None
    return {written} if written else set()


def _make_date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None
