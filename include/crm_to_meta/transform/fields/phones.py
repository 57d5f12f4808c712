"""Normalise phone numbers to the digits that Meta wants, or return the reason to leave the number out.

libphonenumber (the package `phonenumbers`) decides. Its parser takes longer than all other fields of a row together,
so plainly written numbers are read in a few steps from the library's tables. If these steps cannot be sure of the
library's answer, the parser reads the number. `tests/unit/test_phones.py` checks that both ways give the same answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

import phonenumbers
from phonenumbers import NumberParseException, PhoneMetadata, PhoneNumber, ValidationResult

from crm_to_meta.models import DropReason
from crm_to_meta.transform.fields.territories import country_code
from crm_to_meta.transform.fields.text import SHA256_LENGTH, is_sha256, read_text, write_ascii_digits


def normalize_phone(text: str, country: str | None = None) -> str | DropReason:
    """Normalise `ph`: digits only, the country code always first, no leading zeros, no extension.

    A number without "+" or "00" belongs to `country` (in any form that `normalize_country` reads), or is a valid
    international number that lost its plus. Numbers that nobody can dial, or without any country, are dropped.
    """
    return read_plain_phone(text, country) or read_phone(text, country)


# --- By libphonenumber ------------------------------------------------------------------------------------------------

_DIALLED: Final = re.compile(r"(?:(\+|00)[^0-9]*0*)?([0-9](?:.*[0-9])?)", re.DOTALL)
# Digits that people write in international numbers but that are not dialled: the trunk zero in "+34 (0)91 …", and in
# "+52 1 55 …" the 1 that Mexican mobiles had until 2019.
_STRAY_TRUNK_DIGIT: Final = re.compile(r"\(0\)|(?<=^52)\D*1")
_LEAST_SUBSCRIBER_NUMBER: Final = 1_000_000  # seven digits


def read_phone(text: str, country: str | None = None) -> str | DropReason:
    """Normalise a phone number as `normalize_phone` does, with libphonenumber's parser."""
    value = read_text(text)
    if not isinstance(value, str) or (len(value) == SHA256_LENGTH and is_sha256(value)):
        return value
    dialled = _DIALLED.search(write_ascii_digits(value))
    if dialled is None:
        return DropReason.PHONE_NOT_POSSIBLE
    prefix, rest = dialled.groups()
    region = (country_code(country) or "").upper() if country else ""
    # The SDK and the builder hash the digits as they are. The docs always want the country code, and a guess may find
    # another person: one in ten US numbers is also a valid number of another country (659 823 4567: Singapore).
    number = _find_number(prefix, rest, region)
    if number is None:
        return DropReason.PHONE_NOT_POSSIBLE if prefix or region else DropReason.PHONE_WITHOUT_COUNTRY
    return f"{number.country_code}{phonenumbers.national_significant_number(number)}"


def _find_number(prefix: str | None, rest: str, region: str) -> PhoneNumber | None:
    if prefix == "+":
        return _parse_international(rest)
    national = _parse_possible(f"{prefix or ''}{rest}", region) if region else None
    if prefix:  # "00" means abroad in most countries, but Australia dials "0011", Japan has toll-free 00 numbers
        is_national = national is not None and phonenumbers.is_valid_number(national)
        return national if is_national else _parse_international(rest, is_short_allowed=not region)
    if not region or (national and not rest.startswith(str(national.country_code))):
        return national
    foreign = _parse_international(rest)  # "442079460958" in the US; in Germany "4915123456789", not "+494915123456789"
    return foreign if foreign and phonenumbers.is_valid_number(foreign) else national


def _parse_international(digits: str, *, is_short_allowed: bool = False) -> PhoneNumber | None:
    number = _parse_possible(f"+{digits}", None, is_short_allowed=is_short_allowed)
    return number or _parse_possible("+" + _STRAY_TRUNK_DIGIT.sub("", digits, count=1), None)


def _parse_possible(text: str, region: str | None, *, is_short_allowed: bool = False) -> PhoneNumber | None:
    """Parse a number whose length is possible in its country. `is_valid_number` would lag behind new number ranges."""
    try:
        number = phonenumbers.parse(text, region)
    except NumberParseException:
        return None
    length = phonenumbers.is_possible_number_with_reason(number)
    # The SDK and the builder send "00555123456", a digit too short for Brazil. Follow them if no country is known.
    is_short = length == ValidationResult.TOO_SHORT and (number.national_number or 0) >= _LEAST_SUBSCRIBER_NUMBER
    return number if length == ValidationResult.IS_POSSIBLE or (is_short and is_short_allowed) else None


# --- Plainly written numbers, by libphonenumber's tables --------------------------------------------------------------

WITHOUT_SEPARATORS: Final = [None if chr(code) in " ().-" else code for code in range(128)]
_DIGIT: Final = re.compile(r"[+\d]")
# One of the forms of an extension that the library knows.
_EXTENSION: Final = re.compile(r"(?:ext|x)[.:]? *[0-9]{1,7}\Z", re.IGNORECASE | re.ASCII)
NEVER: Final = "(?!)"


@dataclass(frozen=True, slots=True)
class NumberingPlan:
    """The parts of libphonenumber's tables of a region that plainly written numbers need."""

    country_code: str
    lengths: frozenset[int]  # of a number without country code and trunk prefix
    trunk_prefix: re.Pattern[str]  # "0" in most countries; groups hold what the library keeps or rewrites
    abroad: re.Pattern[str]  # the digits dialled before another country's code
    national: re.Pattern[str]


def read_plain_phone(text: str, country: str | None = None) -> str | None:
    """Read a plainly written number: return the answer of `read_phone`, or None if only `read_phone` can tell.

    A plainly written number has digits with blanks, dots, dashes and brackets. It is international with a plus (after
    any letters: "tel:", "p:") or 00, or national of `country` with its trunk prefix, its country code or neither. An
    extension may follow ("ext. 12", "x12").
    """
    if extension := _EXTENSION.search(text):
        text = text[: extension.start()]
    digits = text.translate(WITHOUT_SEPARATORS)
    if not digits.isdigit():
        label, plus, digits = digits.rpartition("+")
        is_international = plus and digits.isdigit() and digits.isascii() and not _DIGIT.search(label)
        return _read_international(digits) if is_international else None
    if not digits.isascii():
        return None
    plan = plan_of_country(country) if country else None
    if digits.startswith("00"):
        is_abroad = text.startswith("00") and (plan is None or _leads_abroad(digits, plan))
        return _read_international(digits[2:]) if is_abroad else None
    return _read_national(digits, plan) if plan else None


def _leads_abroad(digits: str, plan: NumberingPlan) -> bool:
    """Say whether digits that begin with 00 can only be a number of another country."""
    at_home = (plan.abroad.match, plan.trunk_prefix.match, plan.national.fullmatch)
    return plan.abroad.pattern == "00" or not any(match(digits) for match in at_home)


def _read_international(digits: str) -> str | None:
    for end in (1, 2, 3):  # no country code is the beginning of another
        if plan := plan_of_country_code(digits[:end]):
            return _read_number(digits[end:], plan)
    return None


def _read_national(digits: str, plan: NumberingPlan) -> str | None:
    if plan.abroad.match(digits):
        return None
    if digits.startswith(plan.country_code):
        # Longer than any number of the region, so it begins with the country code: "1 650 555 1212" in the US.
        return _read_international(digits) if len(digits) > max(plan.lengths, default=0) else None
    return _read_number(digits, plan)


def _read_number(number: str, plan: NumberingPlan) -> str | None:
    """Remove the trunk prefix of a number without a country code, and add the country code."""
    if trunk_prefix := plan.trunk_prefix.match(number):
        number = number[trunk_prefix.end() :]
        if trunk_prefix.lastindex or not plan.national.fullmatch(number):
            return None
    return plan.country_code + number if len(number) in plan.lengths else None


@cache
def plan_of_country_code(digits: str) -> NumberingPlan | None:
    """Return the plan of the main region with a country code; None if there is none."""
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(digits)) if digits[:1] not in {"", "0"} else None
    return _make_plan(PhoneMetadata.metadata_for_region_or_calling_code(int(digits), regions[0])) if regions else None


@lru_cache(maxsize=4096)
def plan_of_country(country: str) -> NumberingPlan | None:
    """Return the plan of a country, in any form that `normalize_country` reads; None if it is unknown."""
    code = country_code(country)
    return _make_plan(PhoneMetadata.metadata_for_region(code.upper())) if code else None


def _make_plan(metadata: PhoneMetadata | None) -> NumberingPlan | None:
    if metadata is None or metadata.country_code is None or metadata.general_desc is None:
        return None
    main_region = phonenumbers.region_code_for_country_code(metadata.country_code)
    main = PhoneMetadata.metadata_for_region_or_calling_code(metadata.country_code, main_region)
    return NumberingPlan(
        country_code=str(metadata.country_code),
        # The library checks the length twice: for the region, and for the main region with the same country code.
        lengths=_possible_lengths(metadata) & _possible_lengths(main),
        trunk_prefix=re.compile(metadata.national_prefix_for_parsing or NEVER),
        abroad=re.compile(metadata.international_prefix or NEVER),
        national=re.compile(metadata.general_desc.national_number_pattern or NEVER),
    )


def _possible_lengths(metadata: PhoneMetadata | None) -> frozenset[int]:
    lengths = metadata.general_desc if metadata else None
    return (
        frozenset(lengths.possible_length) - frozenset(lengths.possible_length_local_only) if lengths else frozenset()
    )
