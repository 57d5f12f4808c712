"""A phone gets its country code once, in every country, and the short way to read it gives libphonenumber's answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneMetadata, PhoneNumberFormat, PhoneNumberType

from crm_to_meta.models import DropReason
from crm_to_meta.transform.fields.phones import normalize_phone, read_phone, read_plain_phone

if TYPE_CHECKING:
    from collections.abc import Iterator

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


# --- Plainly written numbers ------------------------------------------------------------------------------------------

FORMATS = (PhoneNumberFormat.E164, PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.NATIONAL)
COUNTRY_CODES = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)


def spell(number: phonenumbers.PhoneNumber) -> Iterator[str]:
    """Spell a number in the ways that are met most."""
    for number_format in FORMATS:
        written = phonenumbers.format_number(number, number_format)
        yield from (written, written.lstrip("+"), written.replace("-", " "), f"({written}) ", f"Tel.: {written}")
        yield from (f"{written} ext. 12", f"{written}x12", f"{written} Ext: 1234567", f"{written}, ext-9")
    yield f"00{phonenumbers.format_number(number, PhoneNumberFormat.E164)[1:]}"
    yield f"00 {phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)[1:]}"
    yield phonenumbers.national_significant_number(number)


@pytest.mark.sweep(keep=25)
@pytest.mark.parametrize("region", REGIONS)
def test_every_country_plain_numbers_are_read_as_the_library_reads_them(region: str) -> None:
    """Whatever is read without libphonenumber is what it would have said: in its own country, another one and none."""
    for number in example_numbers(region):
        for text in spell(number):
            for country in (region, "US", "GB", "IT", "RU", None):
                plain = read_plain_phone(text, country)

                assert plain in {None, read_phone(text, country)}, (text, country)


@pytest.mark.parametrize("text", ["650 555 1212 ext. 12", "+1 650 555 1212x12", "001 650 555 1212", "0044 7400 123456"])
def test_extensions_and_foreign_numbers_need_no_library(text: str) -> None:
    """Nor do these, though no American dials 00 to reach another country."""
    assert read_plain_phone(text, "US") == read_phone(text, "US")


def test_most_plain_numbers_need_no_library() -> None:
    """The short way is taken: by the mobile numbers of nearly all countries, however they are written."""
    written = [
        (text, region)
        for region in REGIONS
        if (number := phonenumbers.example_number_for_type(region, PhoneNumberType.MOBILE))
        for text in (phonenumbers.format_number(number, number_format) for number_format in FORMATS)
    ]
    plain = [pair for pair in written if read_plain_phone(*pair)]

    assert len(plain) > 0.9 * len(written)


@st.composite
def numbers_of_a_country(draw: st.DrawFn) -> tuple[str, str | None]:
    """Draw digits behind whatever may stand first in a country, and the country."""
    region = draw(st.sampled_from(REGIONS))
    metadata = PhoneMetadata.metadata_for_region(region)
    assert metadata is not None
    first_digits = [
        "", "0", "1", "8", "00", "000", "011", "+", "+0", "+00",
        str(metadata.country_code), f"+{metadata.country_code}", f"00{metadata.country_code}",
        f"+{metadata.country_code} (0)", f"+{draw(st.sampled_from(COUNTRY_CODES))}",
        metadata.national_prefix or "", f"{metadata.country_code}{metadata.national_prefix or ''}",
        "".join(filter(str.isdigit, metadata.national_prefix_for_parsing or ""))[:4],
        "".join(filter(str.isdigit, metadata.international_prefix or ""))[:4],
    ]  # fmt: skip
    example_number = phonenumbers.example_number(region)
    digits = draw(
        st.text("0123456789", min_size=3, max_size=14)
        | st.just(phonenumbers.national_significant_number(example_number) if example_number else "")
    )
    separators = draw(st.sampled_from(["", " ", "-", ".", ") ", "x", "٣", " ext 1", "EXT.:", "ext "]))
    cut = draw(st.integers(0, len(digits)))
    return draw(st.sampled_from(first_digits)) + digits[:cut] + separators + digits[cut:], draw(
        st.sampled_from([region, None])
    )


@given(written=numbers_of_a_country())
@settings(max_examples=10 * settings.default.max_examples)
@example(written=("(000) 212-3456", "US"))
@example(written=("0 0 442079460958", "DE"))
@example(written=("1+6505551212", "US"))
@example(written=("+39 06 6982", None))
@example(written=("00390669812345", "IT"))
@example(written=("001 650 555 1212", "US"))
@example(written=("0044 7400 123456 ext. 12", "US"))
@example(written=("ext 12", "US"))
@example(written=("6505551212 ext 1 ext 2", "US"))
@example(written=("6505551212x1234567890", "US"))
@example(written=("0-0 59994351234", "US"))
@example(written=("00537163123456", "SG"))
@example(written=("00 6837012", "TJ"))
def test_plain_numbers_of_any_kind_are_read_as_the_library_reads_them(written: tuple[str, str | None]) -> None:
    """Digits at random behind trunk prefixes, carrier codes, country codes and plus signs: one answer or none."""
    assert read_plain_phone(*written) in {None, read_phone(*written)}


@given(text=st.text(), country=st.sampled_from(["US", "DE", None]))
def test_no_text_is_plain_by_mistake(text: str, country: str | None) -> None:
    """Any text at all: the short way says nothing, or what the library says."""
    assert read_plain_phone(text, country) in {None, read_phone(text, country)}
