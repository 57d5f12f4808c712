"""Normalise the plainly written values of a column in one pass; the others get "".

Most of a CRM is plainly written: ASCII without punctuation to remove. One regular expression over the joined column
finds those values' normal forms some five times faster than a Python function for each of them (docs/adr/0005). The
field's own function decides about all others, and `tests/unit/transform/test_fast_columns.py` proves that both agree.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from crm_to_meta.meta.lead_id import LEAD_ID_PATTERN
from crm_to_meta.transform.fields.names_and_places import has_zip_plus_four
from crm_to_meta.transform.fields.phones import NEVER, WITHOUT_SEPARATORS, plan_of_country, plan_of_country_code
from crm_to_meta.transform.fields.territories import country_code

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_END: Final = "\0"  # PostgreSQL's text never holds it


def compile_plain(pattern: str) -> re.Pattern[str]:
    """Return the pattern of a column. Its only group is the normal form of a plainly written value, in lowercase.

    It must not match an MD5 or a SHA-256: those are not plain.
    """
    return re.compile(rf" *(?:{pattern}) *{_END}|[^{_END}]*{_END}", re.ASCII)


_EMAIL: Final = compile_plain(
    r"([a-z0-9.!#$%&'*+/=?^_`{|}~-]+@"
    # A domain of two plain labels is found in half the time that any other takes, and most are.
    rf"(?:[a-z0-9]+\.[a-z]{{2,}}(?=[ {_END}])|(?:[a-z0-9][a-z0-9-]*(?<!-)\.)+[a-z]{{2,}}))"
)
_NAME: Final = compile_plain("([a-z]{1,31})")
_EXTERNAL_ID: Final = compile_plain("([a-z0-9_.-]{1,31})")
_ZIP: Final = compile_plain("([a-z0-9]{1,12})")
_US_ZIP: Final = compile_plain("([0-9]{5})(?:-[0-9]{4})?")
_WITHOUT_BLANKS_AND_DASHES: Final = dict.fromkeys(map(ord, " -"))
_LEAD_ID: Final = compile_plain(f"({LEAD_ID_PATTERN})")


def find_plain_emails(texts: Sequence[str]) -> Sequence[str]:
    """Return the normal form (see `normalize_email`) of each text that is plainly written, "" for the others."""
    return _find_plain(_EMAIL, texts)


def find_plain_names(texts: Sequence[str]) -> Sequence[str]:
    """Do the same for `normalize_name`."""
    return _find_plain(_NAME, texts)


def find_plain_external_ids(texts: Sequence[str]) -> Sequence[str]:
    """Do the same for `normalize_external_id`."""
    return _find_plain(_EXTERNAL_ID, texts)


def find_plain_zips(texts: Sequence[str], country: str | None) -> Sequence[str]:
    """Do the same for `normalize_zip`, with texts of a country."""
    home = country_code(country) if country else None
    if home is None or has_zip_plus_four(home):
        return _find_plain(_US_ZIP, texts)
    return _find_plain(_ZIP, texts, lambda column: column.lower().translate(_WITHOUT_BLANKS_AND_DASHES))


def find_plain_lead_ids(texts: Sequence[str]) -> Sequence[str]:
    """Do the same for `normalize_lead_id`, as digits."""
    return _find_plain(_LEAD_ID, texts, str)


def find_plain_phones(texts: Sequence[str], country: str | None) -> Sequence[str]:
    """Do the same for `normalize_phone`, with texts of a country."""
    if country is None:
        return [""] * len(texts)
    code, plain = _plain_numbers_of(country)
    numbers = _find_plain(plain, texts, lambda column: column.translate(WITHOUT_SEPARATORS))
    return [f"{code}{number}" if number else "" for number in numbers]


def _find_plain(
    plain: re.Pattern[str], texts: Sequence[str], prepare: Callable[[str], str] = str.lower
) -> Sequence[str]:
    column = _END.join((*texts, ""))
    found: list[str] = plain.findall(prepare(column))
    return found if len(found) == len(texts) else [""] * len(texts)  # somebody wrote an end into a text


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
