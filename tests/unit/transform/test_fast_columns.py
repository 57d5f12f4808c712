"""Reading a whole column at once changes no answer: it gives what the field's own function gives, value by value."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from crm_to_meta.transform import fast_columns
from crm_to_meta.transform.fields.meta_ids import normalize_lead_id
from crm_to_meta.transform.fields.names_and_places import (
    normalize_email,
    normalize_external_id,
    normalize_name,
    normalize_zip,
)
from crm_to_meta.transform.fields.phones import normalize_phone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    FindPlain = Callable[[list[str]], Sequence[str]]

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS - {"AC", "TA"})
SHA256_OF_NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
MD5_OF_LETTERS = "abcdefabcdefabcdefabcdefabcdefab"

COLUMNS: dict[str, tuple[FindPlain, Callable[[str], Any]]] = {
    "em": (fast_columns.find_plain_emails, normalize_email),
    "fn": (fast_columns.find_plain_names, normalize_name),
    "external_id": (fast_columns.find_plain_external_ids, normalize_external_id),
    "lead_id": (fast_columns.find_plain_lead_ids, lambda text: str(normalize_lead_id(text))),
}
texts = st.one_of(
    st.text("abzABZ019 .-_@+'éK\u0130\u00df\u200b\0\t\n", max_size=16),
    st.text(st.characters(exclude_categories=())),
    st.emails(),
    st.emails().map(str.upper).map(lambda email: f"  {email} "),
    st.from_regex(r"\A(l:)? ?[0-9]{14,18}\Z"),
    st.from_regex(r"\A[0-9A-Z]{3,6}[ -]?[0-9A-Z]{0,5}\Z"),
    st.sampled_from([SHA256_OF_NOTHING, MD5_OF_LETTERS, MD5_OF_LETTERS.upper(), "a" * 64, "a@b.c", "a@b.com1", "L:1"]),
)


def assert_agrees(plain: Sequence[str], by_value: list[Any]) -> None:
    """A column has each value's normal form, or nothing."""
    assert len(plain) == len(by_value)
    assert [found or normalized for found, normalized in zip(plain, by_value, strict=True)] == by_value


@pytest.mark.parametrize(("of_column", "of_value"), COLUMNS.values(), ids=COLUMNS)
@given(column=st.lists(texts, max_size=6))
@settings(max_examples=2 * settings.default.max_examples)
@example(column=["a\0b", "c"])
@example(column=["ann", "A\0"])
@example(column=["\u212aen", "İ", "MARY"])
def test_a_column_is_read_as_its_values_are(
    of_column: FindPlain, of_value: Callable[[str], Any], column: list[str]
) -> None:
    """Whatever stands beside it, a value has one answer."""
    assert_agrees(of_column(column), [of_value(text) for text in column])


@pytest.mark.parametrize("country", ["US", "PR", "GB", "PL", "Deutschland", "Atlantis", None])
@given(column=st.lists(texts, max_size=6))
@settings(max_examples=2 * settings.default.max_examples)
@example(column=["94025-1234", "940251234", "2116", "M1 1AE", "00-950", "V6B1A1", "-90210"])
def test_post_codes_are_read_as_their_values_are(country: str | None, column: list[str]) -> None:
    """Also where they depend on the country."""
    plain = fast_columns.find_plain_zips(column, country)

    assert_agrees(plain, [normalize_zip(text, country) for text in column])


@pytest.mark.sweep(keep=25)
@pytest.mark.parametrize("region", REGIONS)
def test_every_country_phones_are_read_as_their_values_are(region: str) -> None:
    """All kinds of numbers that a country has, in each way of writing, in one column with another country's."""
    numbers = [
        number
        for of_region in (region, "US", "GB", "IT", "BR")
        for number_type in PhoneNumberType.values()
        if (number := phonenumbers.example_number_for_type(of_region, number_type))
    ]
    column = [
        phonenumbers.format_number(number, number_format)
        for number in numbers
        for number_format in (PhoneNumberFormat.E164, PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.NATIONAL)
    ]
    column += [text.lstrip("+") for text in column] + [f"0{text}" for text in column]

    for country in (region, None):
        plain = fast_columns.find_plain_phones(column, country)
        assert_agrees(plain, [normalize_phone(text, country) for text in column])


@given(
    column=st.lists(st.text("0123456789+ ()-.", min_size=4, max_size=18) | texts, min_size=1, max_size=8),
    region=st.sampled_from(REGIONS),
)
@settings(max_examples=8 * settings.default.max_examples)
@example(column=["(000) 212-3456", "1 650 555 1212", "+1 1 650 555 1212"], region="US")
@example(column=["0 0 44 7400 123456", "+44 (0)7400 123456"], region="GB")
def test_digits_at_random_are_read_as_their_values_are(column: list[str], region: str) -> None:
    """Trunk prefixes, carrier codes and country codes stand where they stand by chance."""
    plain = fast_columns.find_plain_phones(column, region)

    assert_agrees(plain, [normalize_phone(text, region) for text in column])


@pytest.mark.parametrize(
    ("find_plain", "column", "normalized"),
    [
        (
            fast_columns.find_plain_emails,
            [" Ann@Example.COM", "a.b+c@my-shop.co.uk"],
            ["ann@example.com", "a.b+c@my-shop.co.uk"],
        ),
        (fast_columns.find_plain_names, ["Ann ", "DOE"], ["ann", "doe"]),
        (fast_columns.find_plain_external_ids, ["User_42", "a-1"], ["user_42", "a-1"]),
        (
            fast_columns.find_plain_lead_ids,
            ["123456789012345", " 12345678901234567"],
            ["123456789012345", "12345678901234567"],
        ),
        (partial(fast_columns.find_plain_zips, country="US"), ["94025", "94025-1234"], ["94025", "94025"]),
        (partial(fast_columns.find_plain_zips, country="GB"), ["M1 1AE", "sw1a1aa"], ["m11ae", "sw1a1aa"]),
        (
            partial(fast_columns.find_plain_phones, country="US"),
            ["(650) 555-1212", "+1 650 555 1212"],
            ["16505551212"] * 2,
        ),
    ],
    ids=["em", "fn", "external_id", "lead_id", "zp in the US", "zp elsewhere", "ph"],
)
def test_what_is_plainly_written_is_found(find_plain: FindPlain, column: list[str], normalized: list[str]) -> None:
    """Without that, all would be right, and five times as slow."""
    assert list(find_plain(column)) == normalized
