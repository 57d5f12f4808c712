"""What is hashed must be the text that Meta hashes: vectors, properties of every field, cases of the simple ones."""

from __future__ import annotations

import json
import unicodedata
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from field_cases import HASHED, cases
from hypothesis import example, given
from hypothesis import strategies as st

from crm_to_meta.models import DropReason
from crm_to_meta.transform.fields.birth_dates import DateOrder, normalize_date_of_birth
from crm_to_meta.transform.fields.meta_ids import normalize_fbc, normalize_fbp, normalize_lead_id
from crm_to_meta.transform.fields.names_and_places import (
    normalize_city,
    normalize_country,
    normalize_email,
    normalize_external_id,
    normalize_gender,
    normalize_name,
    normalize_state,
    normalize_zip,
)
from crm_to_meta.transform.fields.phones import normalize_phone
from crm_to_meta.transform.fields.text import hash_normalized

if TYPE_CHECKING:
    from collections.abc import Callable

VECTORS = Path(__file__).resolve().parents[4].parent / "shared" / "vectors" / "normalization.json"
HASH_OF_NOTHING = sha256(b"").hexdigest()
SOME_SHA256 = sha256(b"some").hexdigest()
SOME_MD5 = "d41d8cd98f00b204e9800998ecf8427e"
CLICK_ID = "IwAR2F4-dbP0l7Mn1IawQQGCINEz7PYXQvwjNwB_qa2ofrHyiLjcbCRxTDMgk"

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
def test_any_text_gives_a_value_or_a_reason(normalize: Callable[[str], object], text: str) -> None:
    """No text raises, and nothing empty comes out."""
    result = normalize(text)

    assert isinstance(result, DropReason | str | int)
    assert result


@each({name: function for name, function in EVERY_HASHED.items() if not name.startswith("ph")})
@given(text=plausible_text)
@example("A \u0300")
@example("A-\u0300")
@example("-\x1f0")
def test_normalizing_twice_changes_nothing(normalize: Callable[[str], str | DropReason], text: str) -> None:
    """A normalised value is normal."""
    once = normalize(text)

    assert isinstance(once, DropReason) or normalize(once) == once


@given(text=plausible_text)
@example("+1 (650) 555-1212")
@example("15551234567")
def test_a_normalized_phone_with_its_plus_is_normal(text: str) -> None:
    """A normalised phone is the international number: with the plus in front it comes out unchanged."""
    once = normalize_phone(text, "US")

    is_number = isinstance(once, str) and len(once) < len(SOME_SHA256)
    assert not is_number or normalize_phone(f"+{once}") == once


@each(EVERY_HASHED)
@given(text=st.text("abcxyzéüñøжд 0123456789-.@+/", max_size=25))
def test_case_does_not_count(normalize: Callable[[str], str | DropReason], text: str) -> None:
    """Upper and lower case have one hash."""
    assert normalize(text.upper()) == normalize(text)


@pytest.mark.sweep(keep=21)
@each(EVERY_HASHED | {"fbc": normalize_fbc, "fbp": normalize_fbp})
@pytest.mark.parametrize("blank", [" ", "\t\r\n", "\u00a0", "\u200b", "\ufeff", "\u202a\u202c"], ids=ascii)
@given(text=plausible_text)
def test_blanks_around_do_not_count(normalize: Callable[[str], object], blank: str, text: str) -> None:
    """Blanks, zero-width and bidi characters around a value do not change it."""
    assert normalize(f"{blank}{text}{blank}") == normalize(text)


@each(EVERY_HASHED)
@given(text=plausible_text)
def test_composed_and_decomposed_text_have_one_hash(normalize: Callable[[str], object], text: str) -> None:
    """An é is an é, typed as one character or as two."""
    assert normalize(unicodedata.normalize("NFD", text)) == normalize(unicodedata.normalize("NFC", text))


@each(EVERY_HASHED)
@given(text=plausible_text)
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
    """What a source has hashed itself is sent as it is, in lowercase."""
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


# --- external_id ----------------------------------------------------------------------------------------------------


@cases(("User 42", "user42"), (" ABC-1 ", "abc-1"), ("0042", "0042"), ("a\u200bb", "ab"))
def test_external_id_has_the_form_of_the_other_channels(text: str, expected: str) -> None:
    """Lowercase and without blanks, as Meta's builder and pixel hash it; nothing else is touched."""
    assert normalize_external_id(text) == expected
