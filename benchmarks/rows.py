"""Invented rows for the benchmark: what a CRM has, and beside it the normal form of each identifier.

A row is made from its normal form, by spelling that the way people do: neither Meta's SDK nor this project's code has a
hand in what counts as right. Lead id, e-mail and phone are another person's in every row, so that nothing is gained by
remembering them; names and places repeat as they do in life. Nothing but the standard library is imported: each
contender reads the same rows in an environment of its own.
"""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARD_ROWS: Final = 50_000  # as many as a mapped task of the DAG has by default
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
    """Columns by Meta's names of the fields: as the CRM spells them, and their normal forms.

    Event ids and times are as PostgreSQL hands them over: text, and Unix seconds as text.
    """

    spelled: dict[str, list[str]]
    normal: dict[str, list[str]]
    event_ids: list[str]
    event_names: list[str]
    event_times: list[str]


def make_shards(rows: int) -> Iterator[Shard]:
    """Make the rows, a shard at a time; the same ones each time."""
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
    """Make the eight identifiers of a person: normal form, spelled form."""
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
    """Make one of 13,520 names; as in life, a few are common and many are rare."""
    rank = int(chance.paretovariate(0.7))
    name = ""
    for letters in (_CONSONANTS, _VOWELS, _CONSONANTS, _VOWELS, "lnrst"):
        rank, choice = divmod(rank, len(letters))
        name += letters[choice]
    return name


def _make_phone(number: int, country: str, chance: random.Random) -> tuple[str, str]:
    """Make a mobile number. One in twenty is written in a way that takes a parser to read."""
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
