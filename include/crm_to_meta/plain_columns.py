"""Columns of text, normalised: what is plainly written in one pass over the whole column, the rest value by value.

Most of a CRM is plainly written: ASCII without punctuation to remove. One regular expression over the joined column
finds those values' normal forms some five times faster than a Python function for each of them (docs/adr/0005). The
field's own function has the last word on all others, and `tests/unit/test_plain_columns.py` holds the two to one
answer.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

from crm_to_meta.meta_ids import normalize_lead_id
from crm_to_meta.normalization import (
    has_zip_plus_four,
    normalize_email,
    normalize_external_id,
    normalize_name,
    normalize_zip,
)
from crm_to_meta.phones import NEVER, WITHOUT_SEPARATORS, normalize_phone, plan_of_country, plan_of_country_code

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from crm_to_meta.field_text import DropReason

_END: Final = "\0"  # PostgreSQL's text never holds it


def compile_plain(pattern: str) -> re.Pattern[str]:
    """Return the pattern of a column. Its only group is the normal form of a plainly written value, in lowercase.

    No MD5 and no SHA-256 may match: those are not plain.
    """
    return re.compile(rf" *(?:{pattern}) *{_END}|[^{_END}]*{_END}", re.ASCII)


_EMAIL: Final = compile_plain(r"([a-z0-9.!#$%&'*+/=?^_`{|}~-]+@(?:[a-z0-9]+(?:-+[a-z0-9]+)*\.)+[a-z]{2,})")
_NAME: Final = compile_plain("([a-z]{1,31})")
_EXTERNAL_ID: Final = compile_plain("([a-z0-9_.-]{1,31})")
_ZIP: Final = compile_plain("([a-z0-9]{1,12})")
_US_ZIP: Final = compile_plain("([0-9]{5})(?:-[0-9]{4})?")
_LEAD_ID: Final = compile_plain("([1-9][0-9]{14,16})")

Texts: TypeAlias = "Collection[str]"
Normalized: TypeAlias = "list[str | DropReason]"


def normalize_emails(texts: Texts) -> Normalized:
    """Return what `normalize_email` returns for each text."""
    return [found or normalize_email(text) for found, text in _find_plain(_EMAIL, texts)]


def normalize_names(texts: Texts) -> Normalized:
    """Return what `normalize_name` returns for each text."""
    return [found or normalize_name(text) for found, text in _find_plain(_NAME, texts)]


def normalize_external_ids(texts: Texts) -> Normalized:
    """Return what `normalize_external_id` returns for each text."""
    return [found or normalize_external_id(text) for found, text in _find_plain(_EXTERNAL_ID, texts)]


def normalize_zips(texts: Texts, country: str | None) -> Normalized:
    """Return what `normalize_zip` returns for each text of a country."""
    plain = _US_ZIP if country is None or has_zip_plus_four(country) else _ZIP
    return [found or normalize_zip(text, country) for found, text in _find_plain(plain, texts)]


def normalize_lead_ids(texts: Texts) -> list[int | DropReason]:
    """Return what `normalize_lead_id` returns for each text."""
    return [int(found) if found else normalize_lead_id(text) for found, text in _find_plain(_LEAD_ID, texts)]


def normalize_phones(texts: Texts, country: str | None) -> Normalized:
    """Return what `normalize_phone` returns for each text of a country."""
    code, plain = _plain_numbers_of(country) if country else ("", _NOTHING_IS_PLAIN)
    numbers = _find_plain(plain, texts, lambda column: column.translate(WITHOUT_SEPARATORS))
    return [f"{code}{number}" if number else normalize_phone(text, country) for number, text in numbers]


def _find_plain(
    plain: re.Pattern[str], texts: Texts, prepare: Callable[[str], str] = str.lower
) -> Iterator[tuple[str, str]]:
    """Pair each text with its normal form where it is plainly written, with "" where not."""
    column = "".join([f"{text}{_END}" for text in texts])
    found: list[str] = plain.findall(prepare(column))
    return zip(found if len(found) == len(texts) else [""] * len(texts), texts, strict=True)


_NOTHING_IS_PLAIN: Final = compile_plain(f"({NEVER})")


@lru_cache(maxsize=512)
def _plain_numbers_of(country: str) -> tuple[str, re.Pattern[str]]:
    """Return a country's code, and the pattern of its plain numbers: the rules of `phones.read_plain_phone` as one."""
    plan = plan_of_country(country)
    main = plan_of_country_code(plan.country_code) if plan else None
    if plan is None or main is None:
        return "", _NOTHING_IS_PLAIN
    trunk_prefix, abroad = _inline(plan.trunk_prefix), f"00|{_inline(plan.abroad)}"
    beginnings = [
        rf"\+{plan.country_code}(?!{_inline(main.trunk_prefix)})",
        f"(?!{abroad}|{trunk_prefix}|{plan.country_code})",
    ]
    if not plan.trunk_prefix.groups:  # else the library may rewrite what stands behind it
        beginnings.append(f"(?!{abroad}|{plan.country_code})(?:{trunk_prefix})(?={_inline(plan.national)}{_END})")
    lengths = "|".join(f"[0-9]{{{length}}}(?={_END})" for length in plan.lengths)
    return plan.country_code, compile_plain(f"(?:{'|'.join(beginnings)})({lengths})")


def _inline(pattern: re.Pattern[str]) -> str:
    """Return a pattern without groups of its own, to stand within that of a column."""
    return "(?:" + re.sub(r"\((?!\?)", "(?:", pattern.pattern).replace("$", f"(?={_END})") + ")"
