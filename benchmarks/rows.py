"""Make invented rows for the benchmark: the values of a CRM, and the normal form of each identifier.

A row is made from its normal forms, which are spelled as people would. So neither Meta's SDK nor this project's code
decides what is right. Lead id, email and phone differ in every row, so that remembering them gains nothing; names and
places repeat as they do in real data. Only the standard library is imported.
"""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARD_ROWS: Final = 50_000  # the default of a DAG's mapped task
CRM_NAME: Final = "Codex CRM"

_EVENT_NAMES: Final = ("Lead", "Contacted", "Marketing Qualified Lead", "Sales Opportunity", "Converted")
_FIRST_TIME: Final = 1_794_700_800  # 2026-11-15, 00:00 UTC
_CONSONANTS: Final = "bdfgklmnrstvz"
_VOWELS: Final = "aeio"
_FOREIGN_NAMES: Final = ("josé", "zoë", "françois", "jürgen", "анна", "łukasz", "siobhán", "ñuflo")
_CITIES: Final = {
    "us": (("menlopark", "Menlo Park"), ("stlouis", "St. Louis"), ("austin", "AUSTIN")),
    "gb": (("london", "London"), ("stokeontrent", "Stoke-on-Trent")),
    "de": (("münchen", "München"), ("köln", "KÖLN"), ("frankfurtammain", "Frankfurt am Main")),
}
_CALLING_CODES: Final = {"us": "1", "gb": "44", "de": "49"}


@dataclass(slots=True)
class Shard:
    """Columns by Meta's names of the fields: as the CRM spells them, and in normal form.

    Event ids and times are texts, as PostgreSQL returns them; times are in Unix seconds.
    """

    spelled: dict[str, list[str]]
    normal: dict[str, list[str]]
    event_ids: list[str]
    event_names: list[str]
    event_times: list[str]


def make_shards(rows: int) -> Iterator[Shard]:
    """Make the rows shard by shard. They are the same in each call."""
    for first in range(0, rows, SHARD_ROWS):
        yield _make_shard(range(first, min(first + SHARD_ROWS, rows)), random.Random(first))


def _make_shard(numbers: range, chance: random.Random) -> Shard:
    normal: dict[str, list[str]] = {}
    spelled: dict[str, list[str]] = {}
    for number in numbers:
        for field, (normal_form, spelling) in _make_person(number, chance).items():
            normal.setdefault(field, []).append(normal_form)
            spelled.setdefault(field, []).append(spelling)
    return Shard(
        normal=normal,
        spelled=spelled,
        event_ids=[str(uuid.UUID(int=chance.getrandbits(128))) for _ in numbers],
        event_names=[chance.choice(_EVENT_NAMES) for _ in numbers],
        event_times=[str(_FIRST_TIME + number % 500_000) for number in numbers],
    )


def _make_person(number: int, chance: random.Random) -> dict[str, tuple[str, str]]:
    """Make the eight identifiers of a person, each in normal form and as spelled."""
    country = chance.choice(("us", "us", "gb", "de"))
    first = chance.choice(_FOREIGN_NAMES) if chance.random() < 0.1 else _make_name(chance)
    last = _make_name(chance)
    email = f"{_make_name(chance)}.{last}{number}@example.com"
    lead_id = str(10**15 + number * 7919)
    return {
        "lead_id": (lead_id, lead_id),
        "em": (email, chance.choice((email, email.title(), f" {email}", f"{email.capitalize()} "))),
        "ph": _make_phone(number, country, chance),
        "fn": (first, chance.choice((first, first.title(), first.upper(), f" {first.title()} "))),
        "ln": (last, last.title()),
        "ct": chance.choice(_CITIES[country]),
        "zp": _make_zip(country, chance),
        "country": (country, chance.choice((country, country.upper()))),
    }


def _make_name(chance: random.Random) -> str:
    """Make one of 13,520 names. As in real data, a few are common and many are rare."""
    rank = int(chance.paretovariate(0.7))
    name = ""
    for letters in (_CONSONANTS, _VOWELS, _CONSONANTS, _VOWELS, "lnrst"):
        rank, choice = divmod(rank, len(letters))
        name += letters[choice]
    return name


def _make_phone(number: int, country: str, chance: random.Random) -> tuple[str, str]:
    """Make a mobile number. One in twenty is written so that it takes a parser to read it."""
    code = _CALLING_CODES[country]
    match country:
        case "us":
            digits = f"{212 + number // 10_000 % 700}555{number % 10_000:04d}"
            at_home = f"({digits[:3]}) {digits[3:6]}-{digits[6:]}"
        case "gb":
            digits = f"7{400 + number // 1_000_000}{number % 1_000_000:06d}"
            at_home = f"0{digits[:4]} {digits[4:]}"
        case _:
            digits = f"1512{number % 10_000_000:07d}"
            at_home = f"0{digits[:4]} {digits[4:]}"
    plain = (
        f"+{code}{digits}",
        f"+{code} {digits[:3]} {digits[3:]}",
        f"+{code}-{digits[:3]}-{digits[3:]}",
        at_home,
        at_home,
    )
    odd = (f"tel: +{code}{digits}", f"00{code} {digits}", f"+{code} {digits} ext. 12")
    return code + digits, chance.choice(odd if chance.random() < 0.05 else plain)


def _make_zip(country: str, chance: random.Random) -> tuple[str, str]:
    number = chance.randrange(10_000, 90_000)
    if country == "us":
        return str(number), chance.choice((str(number), f"{number}-{number % 9_000 + 1_000}"))
    if country == "gb":
        return f"m{number % 90 + 10}ae", f"M{(number % 90 + 10) // 10} {number % 10}AE"
    return str(number), str(number)
