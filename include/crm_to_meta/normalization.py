"""One pure function per Meta field: a CRM's text in; out the form that Meta wants, or the reason to leave it out.

Each takes any text, raises for none and puts no value into a log or an exception. Hashed fields go on to
`hash_normalized`; the lead id and the click ids are sent as they are. Zero-width and bidi characters never count, and
Unicode is composed (NFC): an é typed in two ways has one hash. A hashed field that is a SHA-256 already (64 hex digits
and nothing else) passes through in lowercase.

The rules are Meta's page "Customer Information Parameters" unless a docstring names another. Where that page, the
Business SDK ("SDK") and the parameter builder ("builder") differ, a comment says what is taken and why.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, date, datetime
from enum import Enum
from hashlib import sha256
from typing import Final

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, ValidationResult

from crm_to_meta.territories import country_code, fold_letters, us_or_canadian_state_code


class DropReason(Enum):
    """Why a field is left out of an event. No `str`, so that `isinstance(result, str)` tells a value from a reason."""

    BLANK = "blank"
    NOTHING_LEFT = "nothing_left"  # none of its characters count in this field: "---" as a city
    MD5_NOT_SHA256 = "md5_not_sha256"
    NOT_AN_EMAIL = "not_an_email"
    PHONE_WITHOUT_COUNTRY = "phone_without_country"
    PHONE_NOT_POSSIBLE = "phone_not_possible"
    GENDER_UNKNOWN = "gender_unknown"
    NOT_A_DATE = "not_a_date"
    DATE_AMBIGUOUS = "date_ambiguous"
    DATE_OUT_OF_RANGE = "date_out_of_range"
    COUNTRY_UNKNOWN = "country_unknown"
    LEAD_ID_INVALID = "lead_id_invalid"
    FBC_MALFORMED = "fbc_malformed"
    FBP_MALFORMED = "fbp_malformed"


class DateOrder(Enum):
    """How a source writes its dates of birth; a date that begins with the year is understood under each."""

    YEAR_FIRST = "year_first"
    DAY_FIRST = "day_first"
    MONTH_FIRST = "month_first"


def hash_normalized(text: str) -> str:
    """Hash a normalised value: SHA-256 of its UTF-8, lowercase hex. A value that is a SHA-256 is only lowercased.

    Raises ValueError for an empty text, which no function here returns: the hash of nothing must never reach Meta.
    """
    if not text:
        message = "there is nothing to hash"
        raise ValueError(message)
    if _is_sha256(text.lower()):
        return text.lower()
    return sha256(text.encode("utf-8", errors="replace")).hexdigest()


_LABEL: Final = "[a-z0-9\u0080-\U0010ffff](?:[a-z0-9\u0080-\U0010ffff-]*[a-z0-9\u0080-\U0010ffff])?"
_EMAIL: Final = re.compile(rf'[^\s@<>()\[\],;:"\\\x00-\x1f\x7f]+@(?:{_LABEL}\.)+(?![0-9]+\Z)(?!.\Z){_LABEL}')
_ASCII: Final = re.compile(r"[\x00-\x7f]+")


def normalize_email(text: str) -> str | DropReason:
    """Normalise `em`: trimmed, lowercase; dots, plus tags and other scripts stay. What is no address is dropped."""
    value = _read(text)
    if isinstance(value, DropReason) or _is_sha256(value):
        return value
    # Docs trim and lowercase, no more. Hashing blanks inside an address (SDK) or dropping all beyond ASCII (builder)
    # would lose the match.
    beyond_ascii = _ASCII.sub("", value)
    is_email = _EMAIL.fullmatch(value) and beyond_ascii == beyond_ascii.translate(_LETTERS_AND_DIGITS)
    return value if is_email else DropReason.NOT_AN_EMAIL


_DIALLED: Final = re.compile(r"(?:(\+|00)[^0-9]*0*)?([0-9](?:.*[0-9])?)", re.DOTALL)
# What people write into international numbers though it is not dialled: the trunk zero in "+34 (0)91 …", and the 1 that
# Mexican mobiles had until 2019 in "+52 1 55 …".
_STRAY_TRUNK_DIGIT: Final = re.compile(r"\(0\)|(?<=^52)\D*1")
_LEAST_SUBSCRIBER_NUMBER: Final = 1_000_000  # seven digits


def normalize_phone(text: str, country: str | None = None) -> str | DropReason:
    """Normalise `ph`: digits only, the country code always first, no leading zeros, no extension.

    A number without "+" or "00" is one of `country` (in any form that `normalize_country` reads), or else a valid
    international one whose plus was lost. Dropped: what nobody can dial, and a number without any country.
    """
    value = _read(text)
    if isinstance(value, DropReason) or _is_sha256(value):
        return value
    dialled = _DIALLED.search(_write_ascii_digits(value))
    if dialled is None:
        return DropReason.PHONE_NOT_POSSIBLE
    prefix, rest = dialled.groups()
    region = country_code(country) if country else None
    # SDK and builder hash whatever digits there are. Docs always want the country code, and guessing it finds somebody
    # else: read as international, one in ten US numbers is a valid number of another country (659 823 4567: Singapore).
    number = _find_number(prefix, rest, region and region.upper())
    if number is None:
        return DropReason.PHONE_NOT_POSSIBLE if prefix or region else DropReason.PHONE_WITHOUT_COUNTRY
    return f"{number.country_code}{phonenumbers.national_significant_number(number)}"


def _find_number(prefix: str | None, rest: str, region: str | None) -> PhoneNumber | None:
    if prefix == "+":
        return _parse_international(rest)
    national = _parse_possible(f"{prefix or ''}{rest}", region) if region else None
    if prefix:  # "00" leads abroad from most countries, but Australia dials "0011" and Japan has toll-free 00 numbers
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
    """Parse a number that has a length of its country. Not `is_valid_number`: it lags behind newly opened ranges."""
    try:
        number = phonenumbers.parse(text, region)
    except NumberParseException:
        return None
    length = phonenumbers.is_possible_number_with_reason(number)
    # SDK and builder agree to send "00555123456", a digit short for Brazil: so be it where no country is known.
    is_short = length == ValidationResult.TOO_SHORT and (number.national_number or 0) >= _LEAST_SUBSCRIBER_NUMBER
    return number if length == ValidationResult.IS_POSSIBLE or (is_short and is_short_allowed) else None


def normalize_name(text: str) -> str | DropReason:
    """Normalise `fn` or `ln`: lowercase letters, accents and digits of any script; no punctuation, emoji or blanks."""
    # Docs want no punctuation and are silent on blanks; the SDK keeps both. Blanks go as in the builder and the pixel:
    # "Jean-Luc" and "Jean Luc" are one person. Unlike there, typographic punctuation and emoji go too.
    return _keep_only(text, _LETTERS_AND_DIGITS)


_FEMALE: Final = "f female feminine woman femenino femenina feminino feminina mujer mulher femme feminin weiblich frau"
_MALE: Final = "m male masculine man masculino masculina hombre homem homme masculin mannlich maennlich mann"
_GENDERS: Final = dict.fromkeys(_FEMALE.split(), "f") | dict.fromkeys(_MALE.split(), "m")


def normalize_gender(text: str) -> str | DropReason:
    """Normalise `ge` to f or m, from words in English, Spanish, Portuguese, French and German. The rest is dropped."""
    value = _read(text)
    if isinstance(value, DropReason) or _is_sha256(value):
        return value
    return _GENDERS.get(fold_letters(value), DropReason.GENDER_UNKNOWN)


FIRST_BIRTH_YEAR: Final = 1900  # docs: a year from 1900 to the current one; the builder begins with 1800
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

    `order` decides between day and month where the calendar allows both ("2/3/1997", not "2/16/1997"). Dropped: what is
    no date, a date with two readings under YEAR_FIRST, and one before 1900 or after `today` (by default UTC's).
    """
    value = _read(text)
    if isinstance(value, DropReason) or _is_sha256(value):
        return value
    dates = _read_dates(_write_ascii_digits(value), order)
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


def normalize_city(text: str) -> str | DropReason:
    """Normalise `ct`: lowercase letters and accents of any script; no digits, punctuation or blanks."""
    # The builder keeps a-z0-9 alone ("sopaulo", Москва is lost), docs allow UTF-8; digits go as in the SDK.
    return _keep_only(text, _LETTERS)


def normalize_state(text: str, country: str | None = None) -> str | DropReason:
    """Normalise `st`: a two-letter code in the US, Canada or an unknown `country`; elsewhere letters, lowercase."""
    value = _read(text)
    if isinstance(value, DropReason) or _is_sha256(value):
        return value
    home = country_code(country) if country else None
    if home:
        value = value.removeprefix(f"{home}-")  # ISO 3166-2: "US-CA", "BR-SP"
    # Docs ask for "ca", the SDK hashes "california"; the builder cuts all states to two letters, Nuevo León to "nu".
    code = us_or_canadian_state_code(value) if home in {None, "us", "ca"} else None
    return code or _keep_only(value, _LETTERS)


_BLANKS: Final = re.compile(r"[^\S\x1c-\x1f]+")  # \s, without the separators that only Python counts as blanks
_DASH: Final = re.compile("[-\u2010-\u2015\u2212\ufe58\ufe63\uff0d]")
_ZIP_PLUS_FOUR_COUNTRIES: Final = frozenset({"us", "pr", "gu", "vi", "as", "mp"})
_US_ZIP_DIGITS: Final = 5
_US_ZIP: Final = re.compile(r"([0-9]{3,5})|([0-9]{5})[0-9]{4}")


def normalize_zip(text: str, country: str | None = None) -> str | DropReason:
    """Normalise `zp`: lowercase, no blanks, no dash. US: five digits, with leading zeros that a numeric column lost."""
    value = _read(text)
    if isinstance(value, DropReason) or _is_sha256(value):
        return value
    value = _remove(_BLANKS, value)
    home = country_code(country) if country else None
    # SDK and builder cut every code at its dash; docs shorten those of the US only, and cut, a Polish 00-950 is "00".
    # Taken: docs where the country is known, else what SDK and builder agree on.
    value = _remove(_DASH, value) if home and home not in _ZIP_PLUS_FOUR_COUNTRIES else _DASH.split(value)[0]
    if home in _ZIP_PLUS_FOUR_COUNTRIES and (us_zip := _US_ZIP.fullmatch(value)):
        value = (us_zip[1] or us_zip[2]).zfill(_US_ZIP_DIGITS)
    return value or DropReason.NOTHING_LEFT


def normalize_country(text: str) -> str | DropReason:
    """Normalise `country` to ISO 3166-1 alpha-2, lowercase, from a code or a name in five languages. Or drop it."""
    value = _read(text)
    if isinstance(value, DropReason) or _is_sha256(value):
        return value
    # The builder cuts unknown names to two letters, a random country; the SDK refuses all names, and "UK".
    return country_code(value) or DropReason.COUNTRY_UNKNOWN


def normalize_external_id(text: str) -> str | DropReason:
    """Normalise `external_id`: lowercase, no blanks."""
    # Docs advise to hash, and one form in every channel. The SDK sends it raw; taken is what builder and pixel hash.
    return _remove(_BLANKS, _lower(_clean(text))) or DropReason.BLANK


# 15-17 digits: Conversion Leads Payload Specification. No leading zero: an integer could not keep it.
_LEAD_ID: Final = re.compile(r"\s*(?:l:)?\s*([1-9][0-9]{14,16})\s*")


def normalize_lead_id(text: str) -> int | DropReason:
    """Read `lead_id` exactly: 15 to 17 digits, besides blanks around them and the `l:` of Meta's CSV exports."""
    if not text.strip():
        return DropReason.BLANK
    lead_id = _LEAD_ID.fullmatch(text)
    return int(lead_id[1]) if lead_id else DropReason.LEAD_ID_INVALID


# ClickID and the fbp and fbc Parameters: "fb", subdomain index, milliseconds (13 digits), id. Cookies that the builder
# wrote have one more part.
_FBC: Final = re.compile(r"fb\.[0-9]\.[1-9][0-9]{12}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)?")
_FBP: Final = re.compile(r"fb\.[0-9]\.[1-9][0-9]{12}\.[0-9]+(?:\.[A-Za-z0-9_-]+)?")
_SERVER_SUBDOMAIN_INDEX: Final = 1


def normalize_fbc(text: str) -> str | DropReason:
    """Check `fbc` (ClickID and the fbp and fbc Parameters): trimmed, case kept. Many malformed ones alarm Meta."""
    value = _clean(text)
    if not value:
        return DropReason.BLANK
    return value if _FBC.fullmatch(value) else DropReason.FBC_MALFORMED


def normalize_fbp(text: str) -> str | DropReason:
    """Check `fbp` (ClickID and the fbp and fbc Parameters): trimmed. Malformed ones are dropped."""
    value = _clean(text)
    if not value:
        return DropReason.BLANK
    return value if _FBP.fullmatch(value) else DropReason.FBP_MALFORMED


def build_fbc(fbclid: str, created_at_unix_ms: int) -> str | DropReason:
    """Build `fbc` (same page) from the click id of a URL, case kept, and the millisecond at which it was first seen."""
    click_id = _clean(fbclid)
    if not click_id:
        return DropReason.BLANK
    return normalize_fbc(f"fb.{_SERVER_SUBDOMAIN_INDEX}.{created_at_unix_ms}.{click_id}")


_SHA256_LENGTH: Final = 64
_HEX: Final = re.compile(r"[0-9a-f]+")
_MD5: Final = re.compile(r"[0-9a-f]{32}")
# Unicode's Default_Ignorable_Code_Point (zero-width, bidi, variation selectors, fillers), and surrogates, which UTF-8
# cannot carry.
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ud800-\udfff]"
)
# Letters to Unicode, apostrophes to whoever types O'Neil or Hawai'i.
_APOSTROPHE_LETTERS: Final = frozenset("\u02b9\u02ba\u02bb\u02bc\u02bd\u02be\u02bf\u02c8\ua78b\ua78c")


class _CategoryFilter(dict[int, "int | None"]):
    """A `str.translate` table that keeps some Unicode categories and fills itself with the characters it meets."""

    def __init__(self, categories: str) -> None:
        super().__init__()
        self._categories = frozenset(categories.split())

    def __missing__(self, code_point: int) -> int | None:
        char = chr(code_point)
        is_kept = unicodedata.category(char) in self._categories and char not in _APOSTROPHE_LETTERS
        self[code_point] = code_point if is_kept else None
        return self[code_point]


# Without Me: the frame of a keycap emoji.
_LETTERS: Final = _CategoryFilter("Ll Lm Lo Lt Lu Mc Mn")
_LETTERS_AND_DIGITS: Final = _CategoryFilter("Ll Lm Lo Lt Lu Mc Mn Nd Nl No")


def _keep_only(text: str, kept: _CategoryFilter) -> str | DropReason:
    value = _read(text)
    if isinstance(value, DropReason) or _is_sha256(value):
        return value
    return unicodedata.normalize("NFC", value.translate(kept)) or DropReason.NOTHING_LEFT


def _read(text: str) -> str | DropReason:
    """Clean and lowercase what is to be hashed. An MD5 is refused: hashed once more it would match nobody."""
    value = _lower(_clean(text))
    if not value:
        return DropReason.BLANK
    return DropReason.MD5_NOT_SHA256 if _MD5.fullmatch(value) else value


def _clean(text: str) -> str:
    """Trim, without what nobody sees. That goes first: a joiner between a letter and its accent would keep NFC off."""
    return text.strip() if text.isascii() else unicodedata.normalize("NFC", _INVISIBLE.sub("", text)).strip()


def _lower(value: str) -> str:
    """Lowercase; once more NFC, since J with a caron composes in lowercase only."""
    return value.lower() if value.isascii() else unicodedata.normalize("NFC", value.lower())


def _remove(pattern: re.Pattern[str], value: str) -> str:
    """Remove what matches; NFC again, since an accent behind it meets the letter before it."""
    return unicodedata.normalize("NFC", pattern.sub("", value))


def _is_sha256(value: str) -> bool:
    return len(value) == _SHA256_LENGTH and _HEX.fullmatch(value) is not None


def _write_ascii_digits(value: str) -> str:
    if value.isascii():
        return value
    return "".join(str(unicodedata.decimal(char, char)) for char in unicodedata.normalize("NFKC", value))
