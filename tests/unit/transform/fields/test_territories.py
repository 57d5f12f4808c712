"""Countries and states are looked up, never guessed."""

from __future__ import annotations

import pytest
from babel import Locale

from crm_to_meta.transform.fields import territories
from crm_to_meta.transform.fields.territories import country_code, fold_letters, us_or_canadian_state_code

ISO_COUNTRIES_AND_KOSOVO = 249 + 1
CODES = sorted({code for name in Locale("en").territories.values() if (code := country_code(name))})


def test_every_country_of_iso_3166_is_known() -> None:
    """CLDR's list without its groupings and reserved codes is ISO 3166-1, and Kosovo."""
    assert len(CODES) == ISO_COUNTRIES_AND_KOSOVO


@pytest.mark.parametrize("language", ["en", "es", "pt", "pt_PT", "fr", "de"])
@pytest.mark.parametrize("code", CODES)
def test_every_name_of_a_country_finds_it(code: str, language: str) -> None:
    """Each CLDR name finds its country, in any case, without accents and with the article."""
    name = Locale.parse(language).territories[code.upper()]

    assert country_code(name) == code
    assert country_code(name.upper()) == code
    assert country_code(fold_letters(name)) == code
    assert country_code(f"The {name}") == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("U.K.", "gb"),
        ("Great Britain", "gb"),
        ("U.S.A.", "us"),
        ("EE.UU.", "us"),
        ("EUA", "us"),
        ("USA", "us"),
        ("BRA", "br"),
        ("XKX", "xk"),
        ("Korea, Republic of", "kr"),
        ("Iran, Islamic Republic of", "ir"),
        ("Russian Federation", "ru"),
        ("Viet Nam", "vn"),
        ("Czech Republic", "cz"),
        ("Turkey", "tr"),
        ("Holland", "nl"),
        ("Ivory Coast", "ci"),
        ("Bosnia and Herzegovina", "ba"),
        ("Saint Lucia", "lc"),
        ("Hong Kong", "hk"),
        ("China", "cn"),
        ("Burma", "mm"),
        ("123us", "us"),
        ("C-A", "ca"),
    ],
)
def test_other_names_of_a_country_find_it(text: str, code: str) -> None:
    """Short forms, former names and the inverted names of pick lists are known."""
    assert country_code(text) == code


@pytest.mark.parametrize(
    "text", ["", "12", "xx", "zz", "EU", "UN", "XA", "419", "001", "Europe", "World", "Atlantis", "Germanyy"]
)
def test_what_is_no_country_is_unknown(text: str) -> None:
    """Groupings, pseudo codes and slips of the pen are no country."""
    assert country_code(text) is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("California", "ca"),
        ("NEW YORK", "ny"),
        ("District of Columbia", "dc"),
        ("Puerto Rico", "pr"),
        ("Québec", "qc"),
        ("Quebec", "qc"),
        ("Terre-Neuve-et-Labrador", "nl"),
        ("Île-du-Prince-Édouard", "pe"),
        ("Newfoundland & Labrador", "nl"),
    ],
)
def test_state_names_find_their_code(text: str, code: str) -> None:
    """US states and territories in English, Canada's provinces in both of its languages."""
    assert us_or_canadian_state_code(text) == code


def test_all_states_are_listed() -> None:
    """50 states, the district, 5 territories, 3 military codes; 13 provinces and territories."""
    assert len(set(territories._STATE_CODES.values())) == 50 + 1 + 5 + 3 + 13


@pytest.mark.parametrize("text", ["", "Bavaria", "New", "Cal"])
def test_other_states_have_no_code(text: str) -> None:
    """No code is cut out of a name."""
    assert us_or_canadian_state_code(text) is None
