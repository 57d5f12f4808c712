"""Invent leads. The same state of the random generator gives the same lead. `sample_dirt` adds the dirt later."""

from __future__ import annotations

import string
import unicodedata
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from crm_to_meta_demo.sample_transition import DELETED_ENDING, LEAD_ID_DIGITS, SampleTransition
from crm_to_meta_demo.sample_vocabulary import COUNTRIES, MAIL_DOMAINS, MAILBOX_WORDS, Country

if TYPE_CHECKING:
    from datetime import datetime
    from random import Random

WITHOUT_EMAIL, WITHOUT_PHONE = 0.10, 0.18  # shares of leads; no lead is without both
GAPS = {  # share of leads without a group of optional fields
    ("first_name", "last_name"): 0.08,
    ("gender",): 0.60,
    ("date_of_birth",): 0.70,
    ("city", "state", "zip"): 0.45,
    ("country",): 0.15,
    ("external_id",): 0.30,
    ("fbclid",): 0.65,
    ("fbp",): 0.80,
}
_BIRTHS_FROM, _BIRTH_DAYS = date(1956, 1, 2), 17_500  # to 2003
_CLICK_ID_LETTERS = string.ascii_letters + string.digits + "_-"


def invent_lead(rng: Random, created_at: datetime, *, is_complete: bool) -> SampleTransition:
    """Return a lead without transition id, stage and event time. Only a complete one has all fields of a person."""
    country = rng.choices(list(COUNTRIES.values()), [each.weight for each in COUNTRIES.values()])[0]
    lead = _invent_person(rng, country, created_at)
    return lead if is_complete else _leave_gaps(rng, lead)


def empty_fields(row: SampleTransition, *names: str) -> SampleTransition:
    """Return the row with None in the named fields, which must be optional."""
    nothing: dict[str, Any] = dict.fromkeys(names)
    return replace(row, **nothing)


def fill_pattern(rng: Random, pattern: str) -> str:
    """Return the pattern with a random digit instead of each #."""
    return "".join(rng.choice(string.digits) if char == "#" else char for char in pattern)


def _invent_person(rng: Random, country: Country, created_at: datetime) -> SampleTransition:
    is_woman = rng.choice((True, False))
    first_name, last_name = rng.choice(country.women if is_woman else country.men), rng.choice(country.family)
    place = rng.choice(country.places)
    return SampleTransition(
        transition_id=None,
        lead_id=_invent_lead_id(rng),
        stage=None,
        event_time=None,
        lead_created_at=created_at,
        email=_invent_email(rng, first_name, last_name),
        phone=fill_pattern(rng, rng.choice(rng.choice((country.national, country.international)))),
        first_name=first_name,
        last_name=last_name,
        gender=rng.choice(("f", "F", "female") if is_woman else ("m", "M", "male")),
        date_of_birth=(_BIRTHS_FROM + timedelta(days=rng.randrange(_BIRTH_DAYS))).isoformat(),
        city=place.city,
        state=place.state,
        zip=place.zip,
        country=country.code,
        external_id="acct-" + "".join(rng.choices(string.ascii_uppercase + string.digits, k=10)),
        fbclid="IwAR" + "".join(rng.choices(_CLICK_ID_LETTERS, k=48)),
        fbp=f"fb.1.{int(created_at.timestamp() * 1000)}.{rng.randrange(10**9, 10**10)}",
        currency=country.currency,
    )


def _invent_lead_id(rng: Random) -> str:
    """Return a lead id of 15 to 17 digits, half of them with 16. Those with 17 are too long for a float."""
    digits = rng.choices(LEAD_ID_DIGITS, (3, 6, 3))[0]
    lead_id = str(rng.randrange(10 ** (digits - 1), 10**digits))
    return lead_id[:-1] + "7" if lead_id.endswith(DELETED_ENDING) else lead_id


def _invent_email(rng: Random, first_name: str, last_name: str) -> str:
    """Return a unique address in a domain reserved for examples."""
    words = [_fold_to_ascii(first_name), _fold_to_ascii(last_name)]
    mailbox = rng.choice(".-_").join(words) if all(words) else rng.choice(MAILBOX_WORDS)
    return f"{mailbox}{rng.randrange(100, 100_000)}@{rng.choice(MAIL_DOMAINS)}"


def _fold_to_ascii(name: str) -> str:
    """Return the Latin letters of a name in lowercase without accents, or an empty text."""
    return "".join(char for char in unicodedata.normalize("NFKD", name).lower() if char in string.ascii_lowercase)


def _leave_gaps(rng: Random, lead: SampleTransition) -> SampleTransition:
    empty = [name for names, share in GAPS.items() if rng.random() < share for name in names]
    draw = rng.random()
    if draw < WITHOUT_EMAIL:
        empty.append("email")
    elif draw < WITHOUT_EMAIL + WITHOUT_PHONE:
        empty.append("phone")
    return empty_fields(lead, *empty)
