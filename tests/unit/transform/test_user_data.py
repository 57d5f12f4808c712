"""Columns become Meta's parameters: each under its key, hashed or plain as Meta wants it, blanks left out, counted."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_to_meta.pipeline.settings import SOURCE_FIELDS, Pipeline
from crm_to_meta.transform.user_data import STRONG_FIELDS, UNMATCHABLE_SETS, UserData, build_user_data, is_matchable

CREATED_AT = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
CREATED_AT_MS = 1772368215123
CLICK_ID = "IwAR2F4-dbP0l7Mn1IawQQGCINEz7PYXQvwjNwB_qa2ofrHyiLjcbCRxTDMgk"
FBC = f"fb.1.1554763741205.{CLICK_ID}"
FBP = "fb.1.1596403881668.1116446470"
EVERY_KEY = {"lead_id", "fbc", "fbp", "em", "ph", "fn", "ln", "ge", "db", "ct", "st", "zp", "country", "external_id"}
FULL: dict[str, Any] = {
    "lead_id": "12345678901234567",
    "email": "Name@Example.com",
    "phone": "+1 650 555 1234",
    "first_name": "Mary-Ann",
    "last_name": "O'Neil",
    "gender": "Female",
    "date_of_birth": "1997-02-16",
    "city": "Menlo Park",
    "state": "California",
    "zip": "94025-1234",
    "country": "USA",
    "external_id": "CRM 42",
    "fbc": FBC,
    "fbp": FBP,
}


def hashed(text: str) -> list[str]:
    """Return a text as a hashed parameter."""
    return [sha256(text.encode()).hexdigest()]


def pipeline_with(**extra: Any) -> Pipeline:
    """Return a pipeline without a default country, changed as given."""
    return Pipeline(name="leads", start_date=date(2026, 1, 1), stages={"new": "Lead"}, **extra)


def build_columns(*rows: dict[str, Any], pipeline: Pipeline | None = None) -> UserData:
    """Build the user data of rows that have only these fields, as columns."""
    columns = {field: [row.get(field) for row in rows] for field in SOURCE_FIELDS}
    return build_user_data(columns, pipeline or pipeline_with())


def build(
    *rows: dict[str, Any], pipeline: Pipeline | None = None
) -> tuple[list[dict[str, Any]], dict[str, Counter[str]]]:
    """Build the user data of rows that have only these fields."""
    built = build_columns(*rows, pipeline=pipeline)
    members = map("".join, zip(*built.members, strict=True))
    return [json.loads(f"{{{row.removeprefix(',')}}}") for row in members], built.fields


def build_one(pipeline: Pipeline | None = None, /, **fields: Any) -> dict[str, Any]:
    """Build the user data of one row."""
    (user_data,), _ = build(fields, pipeline=pipeline)
    return user_data


# --- Each field under its key -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "text", "key", "normalized"),
    [
        ("email", " Name@Example.com ", "em", "name@example.com"),
        ("phone", "+1 (650) 555-1234", "ph", "16505551234"),
        ("first_name", "Mary-Ann", "fn", "maryann"),
        ("last_name", "O'Neil", "ln", "oneil"),
        ("gender", "Female", "ge", "f"),
        ("date_of_birth", "1997-02-16", "db", "19970216"),
        ("city", "São Paulo", "ct", "sãopaulo"),
        ("state", "California", "st", "ca"),
        ("zip", "94025 1234", "zp", "940251234"),
        ("country", "Deutschland", "country", "de"),
        ("external_id", "CRM 42", "external_id", "crm42"),
    ],
)
def test_personal_fields_are_normalised_and_hashed(field: str, text: str, key: str, normalized: str) -> None:
    """Each goes to Meta's key, as a list with one SHA-256."""
    assert build_one(**{field: text}) == {key: hashed(normalized)}


@pytest.mark.parametrize(
    ("field", "text", "key", "sent"),
    [
        ("lead_id", "12345678901234567", "lead_id", 12345678901234567),
        ("lead_id", "l:123456789012345", "lead_id", 123456789012345),
        ("fbc", f" {FBC} ", "fbc", FBC),
        ("fbp", FBP, "fbp", FBP),
    ],
)
def test_meta_ids_are_sent_as_they_are(field: str, text: str, key: str, sent: str | int) -> None:
    """Lead id and click ids are never hashed; the lead id is an integer, exact to its 17th digit."""
    user_data = build_one(**{field: text})

    assert user_data == {key: sent}
    assert type(user_data[key]) is type(sent)


def test_a_full_row_has_every_key() -> None:
    """Meta gets as much as there is."""
    assert set(build_one(**FULL)) == EVERY_KEY


def test_no_raw_value_gets_through() -> None:
    """Of the personal values nothing is left but hashes: 64 hex digits each."""
    user_data = build_one(**FULL)

    for key in EVERY_KEY - {"lead_id", "fbc", "fbp"}:
        (value,) = user_data[key]
        assert len(value) == 64
        assert set(value) <= set("0123456789abcdef")


def test_what_is_hashed_already_is_not_hashed_again() -> None:
    """A CRM that stores SHA-256 sends the same event."""
    (already,) = hashed("name@example.com")

    assert build_one(email=already.upper()) == build_one(email="name@example.com")


@pytest.mark.parametrize("blank", [None, "", "  ", "\u200b"], ids=ascii)
def test_blank_fields_are_left_out(blank: str | None) -> None:
    """No key, no empty list, and never the hash of nothing."""
    assert build_one(**dict.fromkeys(FULL, blank), fbclid=blank) == {}


@pytest.mark.parametrize("field", [field for field in FULL if field not in {"lead_id", "fbc", "fbp"}])
def test_the_hash_of_nothing_is_nothing(field: str) -> None:
    """A CRM that hashed its blanks would have Meta match everybody without the field."""
    (nothing,) = hashed("")
    user_data, counts = build({field: nothing}, {field: nothing.upper()})

    assert user_data == [{}, {}]
    assert sum(counts.values(), Counter()) == {"blank": 2}


def test_rows_keep_their_order() -> None:
    """Equal and absent values in between do not shift anything."""
    rows = [{"email": "a@example.com"}, {}, {"email": "b@example.com"}, {"email": "a@example.com"}, {"fbp": FBP}]

    user_data, _ = build(*rows)

    a, b = hashed("a@example.com"), hashed("b@example.com")
    assert user_data == [{"em": a}, {}, {"em": b}, {"em": a}, {"fbp": FBP}]


def test_no_rows_give_nothing() -> None:
    """A shard whose rows were all held back has no user data, and counts of nothing."""
    user_data, counts = build()

    assert user_data == []
    assert counts == {key: Counter() for key in EVERY_KEY}


row_values = st.fixed_dictionaries(
    {},
    optional={
        "email": st.sampled_from(["a@example.com", "no address", ""]),
        "phone": st.sampled_from(["650 555 1234", "+442079460958", "12"]),
        "country": st.sampled_from(["US", "Deutschland", "Narnia", ""]),
        "zip": st.sampled_from(["94025", "00-950"]),
        "lead_id": st.sampled_from(["123456789012345", "12"]),
        "fbclid": st.just(CLICK_ID),
        "lead_created_at": st.just(CREATED_AT),
    },
)


@given(rows=st.lists(row_values, max_size=8))
def test_a_row_is_the_same_alone_and_among_others(rows: list[dict[str, Any]]) -> None:
    """Columns are worked on as a whole; no row learns anything from another."""
    pipeline = pipeline_with(default_country="US")

    together, _ = build(*rows, pipeline=pipeline)

    assert together == [build_one(pipeline, **row) for row in rows]


def test_many_rows_are_what_each_is_alone() -> None:
    """Whether a column repeats its values is guessed from its beginning; a wrong guess changes nothing."""
    emails = [f"p{number}@example.com" for number in range(250)] + ["a@example.com", None, "nobody", ""] * 20
    names = [*["Ann", None, "---"] * 100, *(f"Name {number}" for number in range(30))]
    phones = ["650 555 1234", None, "+442079460958", "12", "+1 650 555 1234 ext. 5"] * 66
    rows = [
        {"email": email, "first_name": name, "phone": phone, "country": country}
        for email, name, phone, country in zip(emails, names, phones, ["US", None, "gb"] * 110, strict=True)
    ]

    together, counts = build(*rows)
    drops = build_columns(*rows).drops
    drops_alone = [build_columns(row).drops for row in rows]

    assert together == [build_one(**row) for row in rows]
    assert drops == {field: [alone.get(field, [None])[0] for alone in drops_alone] for field in ("em", "ph", "fn")}
    assert counts["ph"] == {"usable": 176, "phone_not_possible": 44, "phone_without_country": 44}
    assert counts["em"] == {"usable": 270, "not_an_email": 20, "blank": 20}
    assert counts["fn"] == {"usable": 130, "nothing_left": 100}


# --- What depends on the country --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("country", "default_country", "normalized"),
    [
        pytest.param("DE", "US", "493012345678", id="the row's country comes first"),
        pytest.param("Deutschland", "US", "493012345678", id="also as a name"),
        pytest.param(None, "DE", "493012345678", id="no country: the default"),
        pytest.param(" ", "DE", "493012345678", id="a blank one: the default"),
        pytest.param("DE", None, "493012345678", id="no default needed"),
    ],
)
def test_a_phone_belongs_to_the_rows_country(country: str | None, default_country: str | None, normalized: str) -> None:
    """A number without a country code is one of the row's country, or else of the pipeline's."""
    user_data = build_one(pipeline_with(default_country=default_country), phone="030 12345678", country=country)

    assert user_data["ph"] == hashed(normalized)


def test_a_phone_without_any_country_is_left_out() -> None:
    """Guessing a country would find somebody else."""
    user_data, counts = build({"phone": "030 12345678"})

    assert user_data == [{}]
    assert counts["ph"] == {"phone_without_country": 1}


def test_a_default_country_is_not_sent() -> None:
    """It says how to read a phone, not where somebody lives."""
    assert build_one(pipeline_with(default_country="US"), email="a@example.com") == {"em": hashed("a@example.com")}


@pytest.mark.parametrize(
    ("field", "key", "text", "country", "normalized"),
    [
        ("zip", "zp", "94025-1234", "US", "94025"),
        ("zip", "zp", "00-950", "PL", "00950"),
        ("state", "st", "California", "US", "ca"),
        ("state", "st", "Nuevo León", "MX", "nuevoleón"),
    ],
)
def test_addresses_are_read_by_country(field: str, key: str, text: str, country: str, normalized: str) -> None:
    """States and postal codes are read as in the row's country, or else in the default one."""
    of_row = build_one(**{field: text, "country": country})
    of_default = build_one(pipeline_with(default_country=country), **{field: text})

    assert of_row[key] == of_default[key] == hashed(normalized)


@pytest.mark.parametrize(
    ("order", "normalized"), [("day_first", "19970302"), ("month_first", "19970203"), ("year_first", None)]
)
def test_dates_of_birth_are_read_in_the_pipelines_order(order: str, normalized: str | None) -> None:
    """2/3/1997 is a day in February or in March; where nobody says which, it is left out."""
    user_data = build_one(pipeline_with(date_of_birth_order=order), date_of_birth="2/3/1997")

    assert user_data == ({"db": hashed(normalized)} if normalized else {})


# --- Click ids --------------------------------------------------------------------------------------------------------


def test_an_fbc_is_built_from_the_click_id_and_the_leads_time() -> None:
    """Version, index 1 of a server, milliseconds, and the click id with its case."""
    user_data = build_one(fbclid=CLICK_ID, lead_created_at=CREATED_AT)

    assert user_data == {"fbc": f"fb.1.{CREATED_AT_MS}.{CLICK_ID}"}


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"fbclid": CLICK_ID}, id="no time"),
        pytest.param({"lead_created_at": CREATED_AT}, id="no click id"),
        pytest.param({"fbclid": " ", "lead_created_at": CREATED_AT}, id="blank click id"),
        pytest.param({"fbclid": "a b", "lead_created_at": CREATED_AT}, id="malformed click id"),
        pytest.param({"fbclid": CLICK_ID, "lead_created_at": datetime(1980, 1, 1, tzinfo=UTC)}, id="no such time"),
    ],
)
def test_no_fbc_is_made_up(fields: dict[str, Any]) -> None:
    """Without both, or with one that cannot be, there is no click id."""
    assert build_one(**fields) == {}


def test_a_given_fbc_comes_before_a_built_one() -> None:
    """The browser's own click id has the time of the click."""
    assert build_one(fbc=FBC, fbclid="other", lead_created_at=CREATED_AT) == {"fbc": FBC}


@pytest.mark.parametrize("unusable", ["", "fb.1.123.x", "click"])
def test_a_built_fbc_comes_before_an_unusable_one(unusable: str) -> None:
    """A malformed column does not hide a good click id beside it."""
    user_data = build_one(fbc=unusable, fbclid=CLICK_ID, lead_created_at=CREATED_AT)

    assert user_data == {"fbc": f"fb.1.{CREATED_AT_MS}.{CLICK_ID}"}


@given(milliseconds=st.integers(1_000_000_000_000, 4_000_000_000_000), rest_us=st.integers(0, 999))
def test_the_millisecond_of_an_fbc_is_exact(milliseconds: int, rest_us: int) -> None:
    """No float rounds a time: the milliseconds are those of the column, the rest is cut off."""
    created_at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds, microseconds=rest_us)

    assert build_one(fbclid=CLICK_ID, lead_created_at=created_at) == {"fbc": f"fb.1.{milliseconds}.{CLICK_ID}"}


# --- What Meta can match ----------------------------------------------------------------------------------------------


def powerset_of(weak: frozenset[str]) -> list[frozenset[str]]:
    """Return every part of a set, the empty one and the whole included."""
    subsets = [frozenset[str]()]
    for key in sorted(weak):
        subsets += [subset | {key} for subset in subsets]
    return subsets


WEAK = sorted({subset for weak in UNMATCHABLE_SETS for subset in powerset_of(weak)}, key=sorted)


def test_the_weak_sets_are_those_of_best_practices() -> None:
    """Meta's table, less the browser's user agent, which no CRM has."""
    assert {frozenset(weak) for weak in UNMATCHABLE_SETS} == {
        frozenset({"ct", "country", "st", "zp", "ge"}),
        frozenset({"db"}),
        frozenset({"fn", "ge"}),
        frozenset({"ln", "ge"}),
    }


@pytest.mark.parametrize("keys", WEAK, ids=lambda keys: "+".join(sorted(keys)) or "nothing")
def test_a_weak_set_and_each_part_of_it_cannot_be_matched(keys: frozenset[str]) -> None:
    """An event with only these would be refused, and its request with it."""
    assert not is_matchable(dict.fromkeys(keys, "x"))


@pytest.mark.parametrize("keys", WEAK, ids=lambda keys: "+".join(sorted(keys)) or "nothing")
@pytest.mark.parametrize("strong", ["lead_id", "fbc", "em", "ph", "fbp", "external_id"])
def test_one_identifier_more_makes_it_matchable(keys: frozenset[str], strong: str) -> None:
    """An identifier that stands in no weak set is enough."""
    assert is_matchable(dict.fromkeys({*keys, strong}, "x"))


@pytest.mark.parametrize(
    "keys",
    [{"fn", "ln"}, {"fn", "db"}, {"db", "ge"}, {"fn", "ct"}, {"ln", "zp"}],
    ids=lambda keys: "+".join(sorted(keys)),
)
def test_keys_of_two_weak_sets_can_be_matched_together(keys: set[str]) -> None:
    """Only what lies within one of the sets is refused."""
    assert is_matchable(dict.fromkeys(keys, "x"))


# --- Counts -----------------------------------------------------------------------------------------------------------


def test_strong_fields_are_in_no_weak_set() -> None:
    """A row with one of them is not looked at any closer."""
    assert all(is_matchable({field}) for field in STRONG_FIELDS)


def test_every_value_is_counted_as_usable_or_by_its_reason() -> None:
    """The report says per field how many values were usable and why others were not; absent ones are not counted."""
    _, counts = build(
        {"email": "a@example.com", "lead_id": "123456789012345", "fbp": FBP},
        {"email": "a@example.com", "lead_id": "12", "fbp": "x"},
        {"email": "no address", "phone": "12", "lead_id": ""},
        {"email": " ", "fbclid": CLICK_ID, "lead_created_at": CREATED_AT},
        {"email": None, "fbc": "x"},
        pipeline=pipeline_with(default_country="US"),
    )

    assert {key: dict(count) for key, count in counts.items() if count} == {
        "em": {"usable": 2, "not_an_email": 1, "blank": 1},
        "ph": {"phone_not_possible": 1},
        "lead_id": {"usable": 1, "lead_id_invalid": 1, "blank": 1},
        "fbc": {"usable": 1, "fbc_malformed": 1},
        "fbp": {"usable": 1, "fbp_malformed": 1},
    }


def test_counts_hold_no_value() -> None:
    """They go into the run's report: keys of Meta's and reason codes, nothing else."""
    _, counts = build(FULL, FULL)

    assert counts == {key: Counter(usable=2) for key in EVERY_KEY}
