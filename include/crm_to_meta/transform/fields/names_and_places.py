"""Normalise a CRM's text for each of Meta's hashed fields, with one pure function per field.

Each function returns the form that Meta wants, or the reason to leave the field out. It takes any text, never raises,
and puts no value into a log or an exception. `hash_normalized` hashes the result. Zero-width and bidi characters are
ignored, and Unicode is composed (NFC), so that an é typed in two ways has one hash. A value that is already a SHA-256
(64 hex digits and nothing else) is only lowercased.

The rules come from Meta's page "Customer Information Parameters" ("docs") unless a docstring names another source. If
the docs, the Business SDK ("SDK") and the parameter builder ("builder") differ, a comment says which one is followed
and why; docs/hashing.md has a table of all rules. Phones, dates of birth and Meta's own ids are in other modules.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from crm_to_meta.models import DropReason
from crm_to_meta.transform.fields.territories import country_code, fold_letters, us_or_canadian_state_code
from crm_to_meta.transform.fields.text import SHA256_LENGTH, clean, is_sha256, lower, read_text, remove

# Letters in Unicode, but typed as apostrophes, as in O'Neil or Hawai'i.
_APOSTROPHE_LETTERS: Final = frozenset("\u02b9\u02ba\u02bb\u02bc\u02bd\u02be\u02bf\u02c8\ua78b\ua78c")


class _CategoryFilter(dict[int, "int | None"]):
    """A `str.translate` table that keeps some Unicode categories. It adds each character when it first meets it."""

    def __init__(self, categories: str) -> None:
        super().__init__()
        self._categories = frozenset(categories.split())

    def __missing__(self, code_point: int) -> int | None:
        char = chr(code_point)
        is_kept = unicodedata.category(char) in self._categories and char not in _APOSTROPHE_LETTERS
        self[code_point] = code_point if is_kept else None
        return self[code_point]


# Not Me: the frame of a keycap emoji.
_LETTERS: Final = _CategoryFilter("Ll Lm Lo Lt Lu Mc Mn")
_LETTERS_AND_DIGITS: Final = _CategoryFilter("Ll Lm Lo Lt Lu Mc Mn Nd Nl No")


_LABEL: Final = "[a-z0-9\u0080-\U0010ffff](?:[a-z0-9\u0080-\U0010ffff-]*[a-z0-9\u0080-\U0010ffff])?"
_EMAIL: Final = re.compile(rf'[^\s@<>()\[\],;:"\\\x00-\x1f\x7f]+@(?:{_LABEL}\.)+(?![0-9]+\Z)(?!.\Z){_LABEL}')
_ASCII: Final = re.compile(r"[\x00-\x7f]+")


def normalize_email(text: str) -> str | DropReason:
    """Normalise `em`: trimmed, lowercase; dots, plus tags and other scripts are kept. Only an address is accepted."""
    value = read_text(text)
    if not isinstance(value, str) or (len(value) == SHA256_LENGTH and is_sha256(value)):
        return value
    # The docs only trim and lowercase. Hashing an address with blanks in it (SDK), or dropping all but ASCII (builder),
    # would lose the match.
    is_email = _EMAIL.fullmatch(value) and (value.isascii() or _has_letters_only(_ASCII.sub("", value)))
    return value if is_email else DropReason.NOT_AN_EMAIL


def _has_letters_only(text: str) -> bool:
    return text == text.translate(_LETTERS_AND_DIGITS)


def normalize_name(text: str) -> str | DropReason:
    """Normalise `fn` or `ln`: lowercase letters, accents and digits of any script; no punctuation, emoji or blanks."""
    # The docs want no punctuation and do not mention blanks; the SDK keeps both. Blanks are removed, as by the builder
    # and the pixel: "Jean-Luc" and "Jean Luc" are one person. Unlike there, so are typographic punctuation and emoji.
    return _keep_only(text, _LETTERS_AND_DIGITS)


_FEMALE: Final = "f female feminine woman femenino femenina feminino feminina mujer mulher femme feminin weiblich frau"
_MALE: Final = "m male masculine man masculino masculina hombre homem homme masculin mannlich maennlich mann"
_GENDERS: Final = dict.fromkeys(_FEMALE.split(), "f") | dict.fromkeys(_MALE.split(), "m")


def normalize_gender(text: str) -> str | DropReason:
    """Normalise `ge` to f or m, from words in English, Spanish, Portuguese, French and German. Others are dropped."""
    value = read_text(text)
    if not isinstance(value, str) or (len(value) == SHA256_LENGTH and is_sha256(value)):
        return value
    return _GENDERS.get(fold_letters(value), DropReason.GENDER_UNKNOWN)


def normalize_city(text: str) -> str | DropReason:
    """Normalise `ct`: lowercase letters and accents of any script; no digits, punctuation or blanks."""
    # The docs allow UTF-8, where the builder keeps only a-z0-9 ("sopaulo"; Москва is lost). No digits, as in the SDK.
    return _keep_only(text, _LETTERS)


def normalize_state(text: str, country: str | None = None) -> str | DropReason:
    """Normalise `st`: a two-letter code in the US, Canada or an unknown `country`; elsewhere lowercase letters."""
    value = read_text(text)
    if not isinstance(value, str) or (len(value) == SHA256_LENGTH and is_sha256(value)):
        return value
    home = country_code(country) if country else None
    if home:
        value = value.removeprefix(f"{home}-")  # ISO 3166-2: "US-CA", "BR-SP"
    # The docs want "ca"; the SDK hashes "california". The builder cuts every state to two letters, Nuevo León to "nu".
    code = us_or_canadian_state_code(value) if home in {None, "us", "ca"} else None
    return code or _keep_only(value, _LETTERS)


_BLANKS: Final = re.compile(r"[^\S\x1c-\x1f]+")  # \s, without the separators that only Python counts as blanks
_DASH: Final = re.compile("[-\u2010-\u2015\u2212\ufe58\ufe63\uff0d]")
_ZIP_PLUS_FOUR_COUNTRIES: Final = frozenset({"us", "pr", "gu", "vi", "as", "mp"})
_US_ZIP_DIGITS: Final = 5
_US_ZIP: Final = re.compile(r"([0-9]{3,5})|([0-9]{5})-?[0-9]{4}")


def has_zip_plus_four(country: str) -> bool:
    """Say whether a country has US post codes, where four digits may follow a dash."""
    return country_code(country) in _ZIP_PLUS_FOUR_COUNTRIES


def normalize_zip(text: str, country: str | None = None) -> str | DropReason:
    """Normalise `zp`: lowercase, no blanks, no dash. US: five digits, with leading zeros that a numeric column lost."""
    value = read_text(text)
    if not isinstance(value, str) or (len(value) == SHA256_LENGTH and is_sha256(value)):
        return value
    home = country_code(country) if country else None
    is_us = home in _ZIP_PLUS_FOUR_COUNTRIES
    if not (value.isalnum() or (is_us and _US_ZIP.fullmatch(value))):
        # The SDK and the builder cut every code at its dash: a Polish 00-950 becomes "00". The docs shorten US codes
        # only. Follow the docs if the country is known, otherwise the SDK and the builder.
        value = remove(_BLANKS, value)
        value = (remove(_DASH, value) if home and not is_us else _DASH.split(value)[0]).strip()
    if is_us and (us_zip := _US_ZIP.fullmatch(value)):
        value = (us_zip[1] or us_zip[2]).zfill(_US_ZIP_DIGITS)
    return value or DropReason.NOTHING_LEFT


def normalize_country(text: str) -> str | DropReason:
    """Normalise `country` to lowercase ISO 3166-1 alpha-2, from a code or a name in five languages; drop any other."""
    value = read_text(text)
    if not isinstance(value, str) or (len(value) == SHA256_LENGTH and is_sha256(value)):
        return value
    # The builder cuts unknown names to two letters, which may be another country; the SDK refuses all names and "UK".
    return country_code(value) or DropReason.COUNTRY_UNKNOWN


def normalize_external_id(text: str) -> str | DropReason:
    """Normalise `external_id`: lowercase, no blanks."""
    # The docs advise hashing, in one form on every channel. The SDK sends it raw; follow the builder and the pixel.
    return remove(_BLANKS, lower(clean(text))) or DropReason.BLANK


def _keep_only(text: str, kept: _CategoryFilter) -> str | DropReason:
    value = read_text(text)
    if not isinstance(value, str) or (len(value) == SHA256_LENGTH and is_sha256(value)):
        return value
    return unicodedata.normalize("NFC", value.translate(kept)) or DropReason.NOTHING_LEFT
