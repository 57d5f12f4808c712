"""What is hashed must be the text that Meta hashes: vectors, every country's phone numbers, properties and cases."""

from __future__ import annotations

import json
import unicodedata
from datetime import date
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from crm_to_meta.normalization import (
    DateOrder,
    DropReason,
    build_fbc,
    hash_normalized,
    normalize_city,
    normalize_country,
    normalize_date_of_birth,
    normalize_email,
    normalize_external_id,
    normalize_fbc,
    normalize_fbp,
    normalize_gender,
    normalize_lead_id,
    normalize_name,
    normalize_phone,
    normalize_state,
    normalize_zip,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VECTORS = Path(__file__).resolve().parents[2].parent / "shared" / "vectors" / "normalization.json"
HASH_OF_NOTHING = sha256(b"").hexdigest()
SOME_SHA256 = sha256(b"some").hexdigest()
SOME_MD5 = "d41d8cd98f00b204e9800998ecf8427e"
CLICK_ID = "IwAR2F4-dbP0l7Mn1IawQQGCINEz7PYXQvwjNwB_qa2ofrHyiLjcbCRxTDMgk"

HASHED: dict[str, Callable[..., str | DropReason]] = {
    "em": normalize_email,
    "ph": normalize_phone,
    "fn": normalize_name,
    "ln": normalize_name,
    "ge": normalize_gender,
    "db": normalize_date_of_birth,
    "ct": normalize_city,
    "st": normalize_state,
    "zp": normalize_zip,
    "country": normalize_country,
    "external_id": normalize_external_id,
}
SENT_AS_IS: dict[str, Callable[..., str | int | DropReason]] = {
    "fbc": normalize_fbc,
    "fbp": normalize_fbp,
    "lead_id": normalize_lead_id,
}
IN_A_COUNTRY = {
    "ph in the US": partial(normalize_phone, country="US"),
    "ph in Germany": partial(normalize_phone, country="Deutschland"),
    "st in the US": partial(normalize_state, country="US"),
    "st in Mexico": partial(normalize_state, country="MX"),
    "zp in the US": partial(normalize_zip, country="US"),
    "zp in Poland": partial(normalize_zip, country="PL"),
    "db, day first": partial(normalize_date_of_birth, order=DateOrder.DAY_FIRST),
    "db, month first": partial(normalize_date_of_birth, order=DateOrder.MONTH_FIRST),
}
EVERY_HASHED = HASHED | IN_A_COUNTRY


def each(functions: dict[str, Any]) -> pytest.MarkDecorator:
    """Parametrise over functions, with the field as the id."""
    return pytest.mark.parametrize("normalize", functions.values(), ids=functions.keys())


def cases(*rows: tuple[Any, ...]) -> pytest.MarkDecorator:
    """Parametrise over (text, expected) with the text, made printable, as the id."""
    return pytest.mark.parametrize(("text", "expected"), [pytest.param(*row, id=ascii(row[0])) for row in rows])


# --- Meta's vectors ---------------------------------------------------------------------------------------------------


def read_vectors() -> list[Any]:
    """Read the vectors, or none where they are absent (then the test says so)."""
    vectors = json.loads(VECTORS.read_text(encoding="utf-8")) if VECTORS.exists() else []
    return [pytest.param(vector, id=f"{vector['field']}-{vector['input']!a}") for vector in vectors]


@pytest.mark.skipif(not VECTORS.exists(), reason=f"the vectors are not part of the repository: {VECTORS}")
@pytest.mark.parametrize("vector", read_vectors())
def test_meta_vector(vector: dict[str, Any]) -> None:
    """Official examples, and cases that Meta's SDK and parameter builder answer alike, come out the same here."""
    normalize = (HASHED | SENT_AS_IS)[vector["field"]]
    countries = [vector["requires"]["default_country"]] if "requires" in vector else []

    result = normalize(vector["input"], *countries)

    normalized = None if isinstance(result, DropReason) else str(result)
    assert normalized == vector["expected_normalized"]
    if vector["expected_sha256"]:
        assert hash_normalized(str(normalized)) == vector["expected_sha256"]


# --- Every field ------------------------------------------------------------------------------------------------------

# Surrogates too: a driver that decodes with "surrogateescape" produces them.
any_text = st.text(st.characters(exclude_categories=()))
plausible_text = st.one_of(
    any_text,
    st.text("aZéİßσΣǰÅК李م \u0301\u030c\u200b-'’.,+0123456789٣@", max_size=30),
    st.emails(),
    st.dates().map(str),
    st.from_regex(r"\A[+0-9 ()./-]{5,20}\Z"),
    st.sampled_from(["Québec", "California", "U.K.", "Deutschland", "01310-100", "female", SOME_SHA256, SOME_MD5]),
)


@each(EVERY_HASHED | SENT_AS_IS)
@given(text=plausible_text)
@settings(deadline=None)
def test_any_text_gives_a_value_or_a_reason(normalize: Callable[[str], object], text: str) -> None:
    """No text raises, and nothing empty comes out."""
    result = normalize(text)

    assert isinstance(result, DropReason | str | int)
    assert result


@each({name: function for name, function in EVERY_HASHED.items() if not name.startswith("ph")})
@given(text=plausible_text)
@settings(deadline=None)
@example("A \u0300")
@example("A-\u0300")
def test_normalizing_twice_changes_nothing(normalize: Callable[[str], str | DropReason], text: str) -> None:
    """A normalised value is normal."""
    once = normalize(text)

    assert isinstance(once, DropReason) or normalize(once) == once


@given(text=plausible_text)
@settings(deadline=None)
@example("+1 (650) 555-1212")
@example("15551234567")
def test_a_normalized_phone_with_its_plus_is_normal(text: str) -> None:
    """A normalised phone is the international number: with the plus in front it comes out unchanged."""
    once = normalize_phone(text, "US")

    is_number = isinstance(once, str) and len(once) < len(SOME_SHA256)
    assert not is_number or normalize_phone(f"+{once}") == once


@each(EVERY_HASHED)
@given(text=st.text("abcxyzéüñøжд 0123456789-.@+/", max_size=25))
@settings(deadline=None)
def test_case_does_not_count(normalize: Callable[[str], str | DropReason], text: str) -> None:
    """Upper and lower case have one hash."""
    assert normalize(text.upper()) == normalize(text)


@each(EVERY_HASHED | {"fbc": normalize_fbc, "fbp": normalize_fbp})
@pytest.mark.parametrize("blank", [" ", "\t\r\n", "\u00a0", "\u200b", "\ufeff", "\u202a\u202c"], ids=ascii)
@given(text=plausible_text)
@settings(deadline=None, max_examples=30)
def test_blanks_around_do_not_count(normalize: Callable[[str], object], blank: str, text: str) -> None:
    """Blanks, zero-width and bidi characters around a value do not change it."""
    assert normalize(f"{blank}{text}{blank}") == normalize(text)


@each(EVERY_HASHED)
@given(text=plausible_text)
@settings(deadline=None)
def test_composed_and_decomposed_text_have_one_hash(normalize: Callable[[str], object], text: str) -> None:
    """An é is an é, typed as one character or as two."""
    assert normalize(unicodedata.normalize("NFD", text)) == normalize(unicodedata.normalize("NFC", text))


@each(EVERY_HASHED)
@given(text=plausible_text)
@settings(deadline=None)
def test_the_hash_of_nothing_is_never_made(normalize: Callable[[str], str | DropReason], text: str) -> None:
    """Whatever comes in, the SHA-256 of an empty text does not come out."""
    result = normalize(text)

    assert isinstance(result, DropReason) or hash_normalized(result) != HASH_OF_NOTHING


@each(EVERY_HASHED | SENT_AS_IS)
@pytest.mark.parametrize("text", ["", "   ", "\t\n\r", "\u00a0"], ids=ascii)
def test_blank_text_is_dropped_as_blank(normalize: Callable[[str], object], text: str) -> None:
    """A blank field is left out, and the reason says that it was blank."""
    assert normalize(text) is DropReason.BLANK


@each(HASHED | {"fbc": normalize_fbc, "fbp": normalize_fbp})
def test_text_that_nobody_sees_is_blank(normalize: Callable[[str], object]) -> None:
    """Zero-width and bidi characters alone are nothing."""
    assert normalize("\ufeff\u200b\u200e \u202a\u202c\u2066\u2069\u00ad\ufe0f") is DropReason.BLANK


@each(EVERY_HASHED)
@pytest.mark.parametrize(
    "text", [SOME_SHA256, SOME_SHA256.upper(), f"  {SOME_SHA256}\n"], ids=["as is", "upper", "blanks"]
)
def test_a_sha256_passes_through_in_lowercase(normalize: Callable[[str], object], text: str) -> None:
    """A source that hashes by itself is believed, whatever the case of its digits."""
    assert normalize(text) == SOME_SHA256
    assert hash_normalized(text.strip()) == SOME_SHA256


@pytest.mark.parametrize(
    "text", [SOME_SHA256[:-1], f"{SOME_SHA256}0", f"x{SOME_SHA256[1:]}"], ids=["63", "65", "no hex"]
)
def test_only_a_whole_sha256_counts_as_hashed(text: str) -> None:
    """What merely looks like a SHA-256 is hashed like any other text."""
    assert hash_normalized(text) == sha256(text.encode()).hexdigest()


@each({name: function for name, function in HASHED.items() if name != "external_id"})
@pytest.mark.parametrize("text", [SOME_MD5, SOME_MD5.upper()], ids=["lower", "upper"])
def test_an_md5_is_dropped(normalize: Callable[[str], object], text: str) -> None:
    """Meta matches SHA-256 only: neither an MD5 nor its SHA-256 would find anybody."""
    assert normalize(text) is DropReason.MD5_NOT_SHA256


def test_an_external_id_may_look_like_an_md5() -> None:
    """32 hex digits are also how systems write their own ids (a UUID without dashes)."""
    assert normalize_external_id(SOME_MD5) == SOME_MD5


def test_hashing_nothing_is_refused() -> None:
    """The hash of an empty text would match everybody without the field; the refusal holds no value."""
    with pytest.raises(ValueError, match="nothing to hash"):
        hash_normalized("")


def test_a_reason_is_no_text() -> None:
    """`isinstance(result, str)` tells a value from a reason, so that no reason is ever hashed."""
    assert not any(isinstance(reason, str) for reason in DropReason)
    assert all(reason.value == reason.name.lower() for reason in DropReason)


# --- em ---------------------------------------------------------------------------------------------------------------


@cases(
    (" John.Smith+crm@GMail.com ", "john.smith+crm@gmail.com"),
    ("jo\u200bhn@example.com", "john@example.com"),
    ("\u202ajohn@example.com\u202c", "john@example.com"),
    ("JÜRGEN@MÜLLER.DE", "jürgen@müller.de"),
    ("ju\u0308rgen@mu\u0308ller.de", "jürgen@müller.de"),
    ("почта@пример.рф", "почта@пример.рф"),
    ("info@xn--mller-kva.de", "info@xn--mller-kva.de"),
    ("o'neil@example.co.uk", "o'neil@example.co.uk"),
)
def test_email_is_trimmed_and_lowercased_and_no_more(text: str, expected: str) -> None:
    """Dots and plus tags stay, other scripts stay; only what nobody sees goes."""
    assert normalize_email(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "john smith@example.com",
        "john@exam ple.com",
        "john@example",
        "john@@example.com",
        "a@example.com, b@example.com",
        "John <john@example.com>",
        "“john”@example.com",
        "john@example.com”",
        "john@-example.com",
        "john@example..com",
        "john@10.0.0.1",
        "john@example.c",
        "@example.com",
        "john",
        "n/a",
        "john\x00@example.com",
        "john😀@example.com",
    ],
    ids=ascii,
)
def test_email_that_is_no_address_is_dropped(text: str) -> None:
    """Blanks inside, two addresses or none: such a hash would match nobody."""
    assert normalize_email(text) is DropReason.NOT_AN_EMAIL


# --- ph ---------------------------------------------------------------------------------------------------------------

# Ascension and Tristan da Cunha have numbers but no code in ISO 3166-1: nobody's CRM has them as a country.
REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS - {"AC", "TA"})


def example_numbers(region: str) -> Iterator[phonenumbers.PhoneNumber]:
    """List a country's example number of each type that can be dialled from anywhere."""
    for number_type in PhoneNumberType.values():
        number = phonenumbers.example_number_for_type(region, number_type)
        if number and phonenumbers.is_possible_number_with_reason(number) == phonenumbers.ValidationResult.IS_POSSIBLE:
            yield number


@pytest.mark.parametrize("region", REGIONS)
def test_every_country_national_numbers_get_their_country_code(region: str) -> None:
    """What a country's own people write is understood with the row's country."""
    for number in example_numbers(region):
        national = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
        bare = phonenumbers.national_significant_number(number)

        assert f"+{normalize_phone(national, region)}" == phonenumbers.format_number(number, PhoneNumberFormat.E164)
        assert f"+{normalize_phone(bare, region)}" == phonenumbers.format_number(number, PhoneNumberFormat.E164)


@pytest.mark.parametrize("region", REGIONS)
def test_every_country_international_numbers_need_no_country(region: str) -> None:
    """With "+" or "00" the number says its country itself; no default country can bend it."""
    for number in example_numbers(region):
        e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)
        spaced = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)

        for written in (e164, spaced, f"tel:{spaced}", f"00{e164[1:]}", f"00 {spaced[1:]}"):
            for country in (None, region):
                assert f"+{normalize_phone(written, country)}" == e164
        assert f"+{normalize_phone(spaced, 'US')}" == e164
        assert f"+{normalize_phone(spaced, 'DE')}" == e164


@pytest.mark.parametrize("region", REGIONS)
def test_every_country_a_lost_plus_is_found_again(region: str) -> None:
    """A number that begins with its own country's code is not prefixed with it once more."""
    for number in example_numbers(region):
        e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)

        assert f"+{normalize_phone(e164[1:], region)}" == e164


@pytest.mark.parametrize("code", sorted(phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS))
def test_numbers_of_no_country_are_kept(code: int) -> None:
    """International toll-free and satellite numbers belong to no country and are numbers all the same."""
    number = phonenumbers.example_number_for_non_geo_entity(code)
    assert number is not None

    assert (
        f"+{normalize_phone(phonenumbers.format_number(number, PhoneNumberFormat.E164))}"
        == phonenumbers.format_number(number, PhoneNumberFormat.E164)
    )


@pytest.mark.parametrize(
    ("text", "country", "expected"),
    [
        pytest.param("+44 (0)20 7946 0958", None, "442079460958", id="trunk zero in brackets"),
        pytest.param("+34 (0)912 345 678", None, "34912345678", id="trunk zero that the country never had"),
        pytest.param("+39 06 6982", None, "39066982", id="Italy keeps its zero"),
        pytest.param("+0049 30 12345678", None, "493012345678", id="plus and 00"),
        pytest.param("020 7946 0958", "United Kingdom", "442079460958", id="country by name"),
        pytest.param("8 (495) 123-45-67", "RU", "74951234567", id="trunk 8"),
        pytest.param("011 15-2345-6789", "AR", "5491123456789", id="Argentine mobile"),
        pytest.param("+52 1 55 1234 5678", None, "525512345678", id="Mexican mobile before 2019"),
        pytest.param("650.555.1212", "us", "16505551212", id="dots"),
        pytest.param("650 555 1212 ext. 99", "US", "16505551212", id="extension"),
        pytest.param("+1-650-555-1212;ext=5", None, "16505551212", id="extension of a tel URI"),
        pytest.param("(650) 555-1212 (cell)", "US", "16505551212", id="a word behind"),
        pytest.param("p:+16505551212", None, "16505551212", id="label of Meta's CSV exports"),
        pytest.param("\u202a+1 650 555 1212\u202c", None, "16505551212", id="bidi marks of a copied number"),
        pytest.param("٠١٠١٢٣٤٥٦٧٨", "EG", "201012345678", id="Arabic digits"),
        pytest.param("＋８１ ３ １２３４ ５６７８", None, "81312345678", id="full-width digits"),
        pytest.param("011 44 20 7946 0958", "US", "442079460958", id="dialled from the US"),
        pytest.param("0044 20 7946 0958", "US", "442079460958", id="00 in a country that dials 011"),
        pytest.param("0011 65 9123 4567", "AU", "6591234567", id="dialled from Australia"),
        pytest.param("0055 11 98765 4321", "BR", "5511987654321", id="00 and not a Brazilian carrier"),
        pytest.param("442079460958", "US", "442079460958", id="plus lost, impossible in the row's country"),
        pytest.param("4915112345678", "DE", "4915112345678", id="plus lost, country code of the row's country"),
        pytest.param("15551234567", "US", "15551234567", id="possible, in no range that is in use"),
    ],
)
def test_phone_gets_its_country_code_once(text: str, country: str | None, expected: str) -> None:
    """Country code first and once, no trunk zero, no extension, ASCII digits only."""
    assert normalize_phone(text, country) == expected


@pytest.mark.parametrize("country", [None, "", "Atlantis"], ids=repr)
@pytest.mark.parametrize("text", ["(650) 555-1212", "020 7946 0958", "16505551212", "6598234567"])
def test_phone_without_any_country_is_dropped(text: str, country: str | None) -> None:
    """Nobody's number is guessed: 659 823 4567 in Alabama would be +65 9823 4567 in Singapore."""
    assert normalize_phone(text, country) is DropReason.PHONE_WITHOUT_COUNTRY


@pytest.mark.parametrize(
    "text",
    ["911", "555-1212", "+1 911", "+1 555 1212", "650 555 12123", "+99 9999 9999", "0", "n/a", "--------", "1" * 300],
)
def test_phone_that_nobody_can_dial_is_dropped(text: str) -> None:
    """Emergency numbers, numbers without an area code, too few and too many digits."""
    assert normalize_phone(text, "US") is DropReason.PHONE_NOT_POSSIBLE


@pytest.mark.parametrize("country", ["BR", "US", "DE"])
def test_a_short_number_with_00_is_dropped_where_a_country_is_known(country: str) -> None:
    """The agreed vector "00555123456" is followed only where nothing speaks against it."""
    assert normalize_phone("00555123456", country) is DropReason.PHONE_NOT_POSSIBLE


# --- fn, ln -----------------------------------------------------------------------------------------------------------


@cases(
    ("O'Neil", "oneil"),
    ("O’Neil", "oneil"),
    ("Oʼneil", "oneil"),
    ("Jean-Luc", "jeanluc"),
    ("Jean\u2011Luc", "jeanluc"),
    ("Jean Luc", "jeanluc"),
    ("J.\u00a0R.", "jr"),
    ("Mary 😀👍🏽", "mary"),
    ("👩\u200d💻 Ada 1️⃣", "ada1"),
    ("Vale\u0301ry", "valéry"),
    ("SØRENSEN", "sørensen"),
    ("J\u030cana", "ǰana"),
    ("ΝΙΚΟΣ", "νικος"),
    ("राजेश", "राजेश"),
    ("สมชาย", "สมชาย"),
    ("ジョー", "ジョー"),
    ("$mith™", "mith"),
)
def test_name_keeps_letters_accents_and_digits(text: str, expected: str) -> None:
    """Punctuation, typographic too, emoji and blanks go; the letters and vowel signs of every script stay."""
    assert normalize_name(text) == expected


@pytest.mark.parametrize("text", ["-", "...", "😀", "’", "★ ★"], ids=ascii)
def test_name_of_which_nothing_is_left_is_dropped(text: str) -> None:
    """A name without a letter or digit is nothing, and nothing is not hashed."""
    assert normalize_name(text) is DropReason.NOTHING_LEFT


# --- ge ---------------------------------------------------------------------------------------------------------------


@cases(
    ("F", "f"),
    ("Female", "f"),
    ("mujer", "f"),
    ("FEMININO", "f"),
    ("Féminin", "f"),
    ("weiblich", "f"),
    ("M.", "m"),
    ("Male", "m"),
    ("hombre", "m"),
    ("Masculino", "m"),
    ("homme", "m"),
    ("männlich", "m"),
)
def test_gender_is_one_letter(text: str, expected: str) -> None:
    """Words for it become f or m: "female" as a hash matches nobody."""
    assert normalize_gender(text) == expected


@pytest.mark.parametrize("text", ["other", "non-binary", "unknown", "x", "1", "fm", "-"])
def test_gender_that_is_neither_word_is_dropped(text: str) -> None:
    """Meta takes two values; all else is left out, never bent."""
    assert normalize_gender(text) is DropReason.GENDER_UNKNOWN


# --- db ---------------------------------------------------------------------------------------------------------------


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


# --- ct, st, zp, country ----------------------------------------------------------------------------------------------


@cases(
    ("São Paulo", "sãopaulo"),
    ("Sa\u0303o Paulo", "sãopaulo"),
    ("Москва", "москва"),
    ("東京", "東京"),
    ("St. Louis", "stlouis"),
    ("L’Aquila", "laquila"),
    ("Paris 15", "paris"),
    ("Rio de Janeiro (RJ)", "riodejaneirorj"),
)
def test_city_keeps_the_letters_of_every_script(text: str, expected: str) -> None:
    """Accents and other scripts stay; punctuation, digits and blanks go."""
    assert normalize_city(text) == expected


@pytest.mark.parametrize("country", [None, "US", "United States"])
@cases(
    ("California", "ca"),
    ("new york", "ny"),
    ("N.Y.", "ny"),
    ("Washington", "wa"),
    ("Washington, D.C.", "dc"),
    ("tx", "tx"),
)
def test_state_of_the_us_is_its_code(text: str, expected: str, country: str | None) -> None:
    """Docs want two letters there, whichever way the CRM writes the state."""
    assert normalize_state(text, country) == expected


@pytest.mark.parametrize(
    ("text", "country", "expected"),
    [
        ("Québec", "CA", "qc"),
        ("Colombie-Britannique", "Canada", "bc"),
        ("CA-ON", "CA", "on"),
        ("US-CA", "US", "ca"),
        ("BR-SP", "BR", "sp"),
        ("Nuevo León", "MX", "nuevoleón"),
        ("Nuevo León", None, "nuevoleón"),
        ("Île-de-France", "FR", "îledefrance"),
        ("Montana", "BG", "montana"),
        ("Florida", "UY", "florida"),
    ],
)
def test_state_elsewhere_is_never_cut(text: str, country: str | None, expected: str) -> None:
    """Canada has codes; other countries keep the whole name, even one that the US has too."""
    assert normalize_state(text, country) == expected


@pytest.mark.parametrize(
    ("text", "country", "expected"),
    [
        ("A1 B2", None, "a1b2"),
        ("SW1A 1AA", "GB", "sw1a1aa"),
        ("94035-1234", "US", "94035"),
        ("94035 - 1234", None, "94035"),
        ("94035\u20131234", "US", "94035"),
        ("940351234", "US", "94035"),
        ("2116", "US", "02116"),
        ("601", "Puerto Rico", "00601"),
        ("2116", "AU", "2116"),
        ("2116", None, "2116"),
        ("00-950", "PL", "00950"),
        ("01310-100", "Brasil", "01310100"),
        ("100-0001", "JP", "1000001"),
        ("V6B 1A1", "US", "v6b1a1"),
    ],
)
def test_zip_is_written_in_one_way(text: str, country: str | None, expected: str) -> None:
    """No blanks, no dash; five digits in the US, also where a numeric column lost the zeros; whole elsewhere."""
    assert normalize_zip(text, country) == expected


@pytest.mark.parametrize("text", ["-", "-90210", "\u2013"], ids=ascii)
def test_zip_of_which_nothing_is_left_is_dropped(text: str) -> None:
    """A dash is no postal code."""
    assert normalize_zip(text) is DropReason.NOTHING_LEFT


@cases(
    ("U.K.", "gb"),
    ("UK", "gb"),
    ("USA", "us"),
    ("Deutschland", "de"),
    ("Allemagne", "de"),
    ("GBR", "gb"),
    ("Brasil", "br"),
)
def test_country_is_alpha_2(text: str, expected: str) -> None:
    """Names and three-letter codes become ISO 3166-1 alpha-2; the UK's is gb."""
    assert normalize_country(text) == expected


@pytest.mark.parametrize("text", ["Atlantis", "xx", "EU", "...", "12", "Unknown", "usde"])
def test_country_that_is_unknown_is_dropped(text: str) -> None:
    """No random code: "Atlantis" is not Austria's at."""
    assert normalize_country(text) is DropReason.COUNTRY_UNKNOWN


# --- external_id, lead_id, fbc, fbp -----------------------------------------------------------------------------------


@cases(("User 42", "user42"), (" ABC-1 ", "abc-1"), ("0042", "0042"), ("a\u200bb", "ab"))
def test_external_id_has_the_form_of_the_other_channels(text: str, expected: str) -> None:
    """Lowercase and without blanks, as Meta's builder and pixel hash it; nothing else is touched."""
    assert normalize_external_id(text) == expected


@cases(
    ("1234567890123456", 1234567890123456),
    (" l:123456789012345 ", 123456789012345),
    ("12345678901234567", 12345678901234567),
    ("99999999999999999", 99999999999999999),
)
def test_lead_id_is_exact(text: str, expected: int) -> None:
    """All 15 to 17 digits arrive, also above 2**53, where a float would change the last one."""
    assert normalize_lead_id(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "12345678901234",
        "123456789012345678",
        "1234567890123456.0",
        "1.234567890123456e15",
        "1,234,567,890,123,456",
        "l:l:1234567890123456",
        "L:1234567890123456",
        "12345678 90123456",
        "+1234567890123456",
        "-1234567890123456",
        "٠١٢٣٤٥٦٧٨٩٠١٢٣٤٥",
        "000000000000001",
        "id 1234567890123456",
        "nan",
    ],
    ids=ascii,
)
def test_lead_id_that_is_not_15_to_17_digits_is_dropped(text: str) -> None:
    """Nothing is repaired: a lead id that went through a float or a spreadsheet is another lead's."""
    assert normalize_lead_id(text) is DropReason.LEAD_ID_INVALID


@pytest.mark.parametrize(
    "text", [f"fb.1.1554763741205.{CLICK_ID}", f"fb.2.1554763741205.{CLICK_ID}.AQ"], ids=["4", "5"]
)
def test_fbc_is_kept_as_it_is(text: str) -> None:
    """Its case matters; a fifth part comes from cookies of the parameter builder."""
    assert normalize_fbc(f" {text}\n") == text


@pytest.mark.parametrize(
    "text",
    [
        CLICK_ID,
        f"fb.1.1554763741.{CLICK_ID}",
        f"fb.1.1554763741205000.{CLICK_ID}",
        f"fb.x.1554763741205.{CLICK_ID}",
        f"FB.1.1554763741205.{CLICK_ID}",
        "fb.1.1554763741205.",
        f"fb.1.1554763741205.{CLICK_ID}&utm_source=x",
        f"fb.1.1554763741205.{CLICK_ID} x",
    ],
    ids=["no prefix", "seconds", "microseconds", "index", "case", "no id", "query", "blank"],
)
def test_fbc_that_is_malformed_is_dropped(text: str) -> None:
    """Meta does not refuse a bad click id but raises an alert over many of them."""
    assert normalize_fbc(text) is DropReason.FBC_MALFORMED


@pytest.mark.parametrize("text", ["fb.1.1596403881668.1116446470", "fb.1.1596403881668.1116446470.AQ"], ids=["4", "5"])
def test_fbp_is_kept_as_it_is(text: str) -> None:
    """A browser id is sent as the cookie has it."""
    assert normalize_fbp(f" {text} ") == text


@pytest.mark.parametrize("text", ["1116446470", "fb.1.1596403881.1116446470", "fb.1.1596403881668.abc"])
def test_fbp_that_is_malformed_is_dropped(text: str) -> None:
    """Version, index, milliseconds and a number: anything else is no browser id."""
    assert normalize_fbp(text) is DropReason.FBP_MALFORMED


def test_build_fbc_keeps_the_click_id_as_it_stood_in_the_url() -> None:
    """Version, the index of a server, milliseconds, and the click id in its own case and length."""
    assert build_fbc(f" {CLICK_ID} ", 1554763741205) == f"fb.1.1554763741205.{CLICK_ID}"


@pytest.mark.parametrize(
    ("fbclid", "created_at_unix_ms", "reason"),
    [
        pytest.param(" ", 1554763741205, DropReason.BLANK, id="blank"),
        pytest.param(CLICK_ID, 1554763741, DropReason.FBC_MALFORMED, id="seconds"),
        pytest.param(CLICK_ID, -1554763741205, DropReason.FBC_MALFORMED, id="before 1970"),
        pytest.param(f"{CLICK_ID}&x=1", 1554763741205, DropReason.FBC_MALFORMED, id="rest of the query"),
    ],
)
def test_build_fbc_refuses_what_meta_would_alert_on(fbclid: str, created_at_unix_ms: int, reason: DropReason) -> None:
    """A time in seconds or a click id with more of the URL behind it makes no fbc."""
    assert build_fbc(fbclid, created_at_unix_ms) is reason


@given(fbclid=any_text, created_at_unix_ms=st.integers())
def test_build_fbc_makes_a_valid_fbc_or_none(fbclid: str, created_at_unix_ms: int) -> None:
    """Whatever is built passes the check for a given fbc."""
    built = build_fbc(fbclid, created_at_unix_ms)

    assert isinstance(built, DropReason) or normalize_fbc(built) == built
