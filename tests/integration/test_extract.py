"""Extract: which rows a run takes, how it reads them, and that two runs never hold the same transition."""

from __future__ import annotations

import threading
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from daily_run import Company, assert_conserved, configured, create_source, insert_transitions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from crm_to_meta.errors import SourceError, WarehouseRefusedError
from crm_to_meta.extract.step import extract
from crm_to_meta.models import Mode, event_id_of, staging_table_of
from crm_to_meta.pipeline.settings import PERSONAL_FIELDS, SOURCE_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable

BERLIN = ZoneInfo("Europe/Berlin")
LEAD_ID_17 = 12345678901234567  # a float would make it ...568
EVIL = """e"m;ail'--%s %(x)s 100% {0} {source}"""


def staged_ids(company: Company, run_key: str) -> list[str]:
    """Return the transition ids that a run staged, in their order."""
    return [row["transition_id"] for row in company.staged(run_key)]


# Which rows -----------------------------------------------------------------------------------------------------------


def test_window_is_half_open(company: Company) -> None:
    """The first moment of an interval belongs to it; the moment at its end belongs to the next one."""
    start, end, instant = company.midnight - timedelta(days=1), company.midnight, timedelta(microseconds=1)
    company.record(
        company.transition(transition_id="before", event_time=start - instant),
        company.transition(transition_id="first", event_time=start),
        company.transition(transition_id="last", event_time=end - instant),
        company.transition(transition_id="after", event_time=end),
    )
    extraction = company.extract(company.facts(days=1, is_sweep=False))

    assert staged_ids(company, extraction.run_key) == ["first", "last"]


def test_late_row_is_taken_by_the_next_daily_run(company: Company) -> None:
    """A row that comes into the CRM days after its event goes out with the next run."""
    company.judges_rows = False
    company.record_sound(3)
    company.run_day()
    company.record(company.transition(transition_id="late", event_time=company.midnight - timedelta(days=4)))
    company.move_clock(timedelta(days=1))
    extraction = company.extract()

    assert staged_ids(company, extraction.run_key) == ["late"]


def test_early_row_waits_for_its_own_day(company: Company) -> None:
    """An event of today is not yesterday's run's; tomorrow's run takes it."""
    company.record(company.transition(transition_id="today", event_time=company.midnight + timedelta(hours=1)))
    on_its_day = company.extract()
    company.audit(on_its_day.run_key)
    company.move_clock(timedelta(days=1))
    next_day = company.extract()

    assert on_its_day.staged == 0
    assert staged_ids(company, next_day.run_key) == ["today"]


def test_backfill_takes_nothing_but_its_interval(company: Company) -> None:
    """A run of exactly one interval leaves alone what has no time, lies in the future or on another day."""
    company.record(
        company.transition(transition_id="inside"),
        company.transition(transition_id="timeless", event_time=None),
        company.transition(transition_id="future", event_time=company.now + timedelta(days=9)),
        company.transition(transition_id="other day", event_time=company.midnight - timedelta(days=3)),
    )
    extraction = company.extract(company.facts(days=1, is_sweep=False))

    assert staged_ids(company, extraction.run_key) == ["inside"]


def test_row_without_usable_time_is_put_on_record(company: Company) -> None:
    """No row is passed over silently because its time is in no window: it is quarantined with a reason."""
    reasons = {
        None: "event_time_missing",
        "infinity": "event_time_invalid",
        "-infinity": "event_time_invalid",
        "9999-12-29 23:59:59+00": "event_time_future",
        "9999-12-31 23:59:59+00": "event_time_invalid",
        "294276-12-31 00:00:00+00": "event_time_invalid",
    }
    company.record(*(company.transition(transition_id=repr(text), event_time=text) for text in reasons))
    company.record_sound(1, transition_id="sound")
    company.configure(quality={"max_quarantined_share": 1})
    day = company.run_day()

    assert day.errors == []
    assert company.outcomes() == {
        **{repr(text): ("quarantined", reason) for text, reason in reasons.items()},
        "sound": ("delivered", None),
    }
    assert_conserved(company, day.run_key)


def test_future_event_is_taken_again_when_its_time_has_come(company: Company) -> None:
    """An event that was in the future is quarantined, and delivered by the run of its day without anybody's help."""
    (event_id,) = company.record(company.transition(transition_id="soon", event_time=company.now + timedelta(hours=2)))
    company.run_day()
    before = company.outcomes()["soon"]
    company.move_clock(timedelta(days=1))
    company.run_day()

    assert before == ("quarantined", "event_time_future")
    assert company.outcomes()["soon"] == ("delivered", None)
    assert company.received_ids() == [event_id]


UNREADABLE_TIMES = (
    "yesterday", "", "2026-02-30 10:00", "2026-01-01 25:61", "2026-01-01 10:00+99:99", "2026-01-01 10:00+15:60", "now",
    "0000-00-00 00:00:00", "9999-12-31 23:59:59-15", "1767225600000", "infinity", "2026-01-01 10:00:00 Europe/Berlin",
)  # fmt: skip


def test_unreadable_text_as_time_is_quarantined(company: Company) -> None:
    """A text that is no date and time is told as such, and holds up no other row."""
    create_source(company.warehouse, {"transition_id": "text", "stage": "text", "event_time": "text", "email": "text"})
    company.configure(source={"event_time_type": "text"})
    times = [*UNREADABLE_TIMES, (company.midnight - timedelta(hours=3)).isoformat()]
    insert_transitions(
        company.warehouse,
        [{"transition_id": text, "stage": "new", "event_time": text, "email": "a@example.com"} for text in times],
    )
    company.run_day()
    outcomes = company.outcomes()

    assert outcomes.pop(times[-1]) == ("delivered", None)
    assert outcomes.pop(None) == ("quarantined", "transition_id_missing")  # the blank one, which is an id, too
    assert outcomes == {text: ("quarantined", "event_time_invalid") for text in UNREADABLE_TIMES if text}


# How they are read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column_type", "declared", "write"),
    [
        ("timestamptz", "timestamptz", lambda at: at),
        ("timestamptz(0)", "timestamptz", lambda at: at),
        ("timestamp", "timestamp", lambda at: at.astimezone(BERLIN).replace(tzinfo=None)),
        ("timestamp(3)", "timestamp", lambda at: at.astimezone(BERLIN).replace(tzinfo=None)),
        ("text", "text", lambda at: at.isoformat()),
        ("text", "text", lambda at: f" {at:%Y-%m-%dT%H:%M:%S}Z "),
        ("text", "text", lambda at: f"{at.astimezone(ZoneInfo('Asia/Kolkata')):%Y-%m-%d %H:%M:%S}+0530"),
        ("varchar(40)", "text", lambda at: f"{at.astimezone(BERLIN):%Y-%m-%d %H:%M:%S},000"),
        ("char(40)", "text", lambda at: f"{at.astimezone(BERLIN):%Y-%m-%dT%H:%M}"),
        ("bigint", "epoch_seconds", lambda at: int(at.timestamp())),
        ("integer", "epoch_seconds", lambda at: int(at.timestamp())),
        ("numeric", "epoch_seconds", lambda at: f"{int(at.timestamp())}.000"),
        ("double precision", "epoch_seconds", lambda at: at.timestamp()),
        ("text", "epoch_seconds", lambda at: f" {int(at.timestamp())} "),
    ],
    ids=["timestamptz", "timestamptz(0)", "timestamp", "timestamp(3)", "ISO", "ISO Z", "ISO offset", "ISO comma",
         "ISO minutes", "epoch bigint", "epoch integer", "epoch numeric", "epoch double", "epoch text"],
)  # fmt: skip
def test_every_declared_type_of_time_is_read(
    company: Company, column_type: str, declared: str, write: Callable[[datetime], Any]
) -> None:
    """Whatever the source's type, the event time is the same moment; times without a zone are in the pipeline's."""
    moment = company.midnight - timedelta(hours=4)
    columns = {"transition_id": "text", "stage": "text", "event_time": column_type, "lead_created_at": column_type}
    create_source(company.warehouse, columns)
    company.configure(source={"event_time_type": declared}, time_zone="Europe/Berlin")
    times = {"event_time": write(moment), "lead_created_at": write(moment - timedelta(hours=1))}
    insert_transitions(company.warehouse, [{"transition_id": "t", "stage": "new", **times}])
    extraction = company.extract()

    assert [(row["event_time"], row["lead_created_at"]) for row in company.staged(extraction.run_key)] == [
        (moment, moment - timedelta(hours=1))
    ]


@pytest.mark.parametrize(
    ("column_type", "value", "text"),
    [
        ("bigint", 4711, "4711"),
        ("text", "4711 ", "4711 "),
        ("uuid", uuid.UUID(int=4711), str(uuid.UUID(int=4711))),
    ],
    ids=["bigint", "text", "uuid"],
)
def test_transition_id_of_any_type_gives_its_event_id(
    company: Company, column_type: str, value: object, text: str
) -> None:
    """The event id is made of the transition id as PostgreSQL writes it, by the same rule as in Python."""
    create_source(company.warehouse, {"transition_id": column_type, "stage": "text", "event_time": "timestamptz"})
    event_time = company.midnight - timedelta(hours=1)
    insert_transitions(company.warehouse, [{"transition_id": value, "stage": "new", "event_time": event_time}])
    (row,) = company.staged(company.extract().run_key)

    assert (row["transition_id"], row["event_id"]) == (text, event_id_of(company.pipeline.name, text))


@pytest.mark.parametrize(
    ("column_type", "values"),
    [
        ("bigint", [LEAD_ID_17]),
        ("numeric", [LEAD_ID_17]),
        ("text", [str(LEAD_ID_17), f"l:{LEAD_ID_17}", f" \tl: {LEAD_ID_17}\n"]),
    ],
    ids=["bigint", "numeric", "text"],
)
def test_lead_id_stays_exact_to_the_last_digit(company: Company, column_type: str, values: list[object]) -> None:
    """17 digits reach Meta as the integer that they are, with Meta's own label in front or without."""
    company.judges_rows = False
    columns = {"transition_id": "text", "stage": "text", "event_time": "timestamptz", "lead_id": column_type}
    create_source(company.warehouse, columns)
    sound = {"stage": "new", "event_time": company.midnight - timedelta(hours=1)}
    rows = [{"transition_id": str(number), **sound, "lead_id": value} for number, value in enumerate(values)]
    insert_transitions(company.warehouse, rows)
    company.run_day()

    assert [event["user_data"] for event in company.received()] == [{"lead_id": LEAD_ID_17}] * len(values)
    assert [row["lead_id"] for row in company.ledger().values()] == [LEAD_ID_17] * len(values)


OPT_OUTS = {
    None: False, "": False, " ": False, "f": False, "false": False, "FALSE ": False, "no": False, "N": False,
    "0": False, "off": False, "t": True, "true": True, "YES": True, "y": True, "1": True, "on": True,
    "unsubscribed": True,
}  # fmt: skip


def test_anything_but_a_clear_no_is_an_opt_out(company: Company) -> None:
    """Who may have opted out is not sent: only a blank or a spelling of false counts as consent."""
    columns = {"transition_id": "text", "stage": "text", "event_time": "timestamptz", "opted_out": "text"}
    create_source(company.warehouse, columns)
    event_time = company.midnight - timedelta(hours=1)
    rows = [
        {"transition_id": repr(text), "stage": "new", "event_time": event_time, "opted_out": text} for text in OPT_OUTS
    ]
    insert_transitions(company.warehouse, rows)
    staged = company.staged(company.extract().run_key)

    assert {row["transition_id"]: row["opted_out"] for row in staged} == {repr(k): v for k, v in OPT_OUTS.items()}


@pytest.mark.parametrize(("kind", "values"), [("boolean", (None, False, True)), ("integer", (None, 0, 1))])
def test_opt_outs_of_other_types_are_read(company: Company, kind: str, values: tuple[object, ...]) -> None:
    """opted_out may be a boolean or a number."""
    columns = {"transition_id": "text", "stage": "text", "event_time": "timestamptz", "opted_out": kind}
    create_source(company.warehouse, columns)
    event_time = company.midnight - timedelta(hours=1)
    rows = [
        {"transition_id": str(number), "stage": "new", "event_time": event_time, "opted_out": value}
        for number, value in enumerate(values)
    ]
    insert_transitions(company.warehouse, rows)
    staged = {row["transition_id"]: row["opted_out"] for row in company.staged(company.extract().run_key)}

    assert staged == {"0": False, "1": False, "2": True}


def test_stage_map_gives_the_event_name(company: Company) -> None:
    """Meta gets the name that the pipeline's file gives to the CRM's stage, blanks around it not counted."""
    company.judges_rows = False
    company.configure(stages={"new": "Lead", "won": "Converted", "Größe ✓": "Big % {Deal}"})
    company.record(*(company.transition(stage=stage) for stage in ("new", " won ", "Größe ✓")))
    company.run_day()

    assert [event["event_name"] for event in company.received()] == ["Lead", "Converted", "Big % {Deal}"]


def test_columns_may_have_other_names(company: Company) -> None:
    """A field is read from the column that the pipeline's file names for it."""
    create_source(company.warehouse, {"id": "bigint", "phase": "text", "changed": "timestamptz", "mail": "text"})
    company.configure(
        source={"columns": {"transition_id": "id", "stage": "phase", "event_time": "changed", "email": "mail"}}
    )
    changed = company.midnight - timedelta(hours=1)
    insert_transitions(company.warehouse, [{"id": 7, "phase": "won", "changed": changed, "mail": "a@example.com"}])
    (row,) = company.staged(company.extract().run_key)

    assert (row["transition_id"], row["stage"], row["event_time"], row["email"]) == (
        "7",
        "won",
        changed,
        "a@example.com",
    )


def test_each_field_lands_in_its_own_column(company: Company) -> None:
    """No two fields are ever swapped, whatever the order and the names of the source's columns."""
    stage_changed, lead_created = company.midnight - timedelta(hours=1), company.midnight - timedelta(hours=2)
    expected = {
        "transition_id": "the transition_id", "stage": "new", "event_time": stage_changed, "lead_id": "the lead_id",
        "lead_created_at": lead_created, "value": Decimal("12.50"), "currency": "EUR", "opted_out": True,
        **{field: f"the {field}" for field in PERSONAL_FIELDS},
    }  # fmt: skip
    kinds = {"event_time": "timestamptz", "lead_created_at": "timestamptz", "value": "numeric", "opted_out": "boolean"}
    columns = {field: f"column {number}" for number, field in enumerate(sorted(SOURCE_FIELDS, reverse=True))}
    create_source(company.warehouse, {column: kinds.get(field, "text") for field, column in columns.items()})
    company.configure(source={"columns": columns}, stages={"new": "Lead"})
    insert_transitions(company.warehouse, [{columns[field]: value for field, value in expected.items()}])
    (row,) = company.staged(company.extract().run_key)

    assert expected.keys() == set(SOURCE_FIELDS)
    assert {field: row[field] for field in SOURCE_FIELDS} == expected
    assert (row["row_no"], row["occurrence"], row["event_name"], row["former_run_key"]) == (1, 1, "Lead", None)
    assert (row["has_event_time"], row["has_value"], row["has_identifier"]) == (True, True, True)


def test_no_name_of_the_source_is_ever_taken_for_sql(company: Company) -> None:
    """Schemas, tables and columns may be called what they like: quotes, semicolons, percent signs and braces."""
    company.judges_rows = False
    columns = {f"{EVIL} id": "text", f"{EVIL} stage": "text", f"{EVIL} time": "timestamptz", EVIL: "text"}
    create_source(company.warehouse, columns, schema=f"s {EVIL}", name=f"t {EVIL}")
    company.configure(
        source={
            "table": f"s {EVIL}.t {EVIL}",
            "columns": {
                "transition_id": f"{EVIL} id",
                "stage": f"{EVIL} stage",
                "event_time": f"{EVIL} time",
                "email": EVIL,
            },
        }
    )
    values = ("t", "new", company.midnight - timedelta(hours=1), "a@example.com")
    insert_transitions(
        company.warehouse, [dict(zip(columns, values, strict=True))], schema=f"s {EVIL}", name=f"t {EVIL}"
    )
    day = company.run_day()

    assert day.errors == []
    assert company.outcomes() == {"t": ("delivered", None)}


def test_column_that_is_switched_off_is_not_read(company: Company) -> None:
    """`field: null` keeps a column of the source out, though it has the field's name."""
    company.judges_rows = False
    company.configure(source={"columns": {"email": None}})
    company.record_sound(1)
    company.run_day()

    assert [set(event["user_data"]) for event in company.received()] == [{"lead_id"}]


# What is wrong with a source ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "source", "message"),
    [
        ({}, {"table": "crm.nowhere"}, "source.table crm.nowhere is not in the warehouse"),
        ({"stage": None}, {}, "has no column stage for the field stage; name it under source.columns.stage"),
        ({}, {"columns": {"email": "mail"}}, "has no column mail for the field email"),
        ({}, {"columns": {"transition_id": 'x"; DROP'}}, 'has no column x"; DROP for the field transition_id'),
        ({"event_time": "text"}, {}, "source.event_time_type is timestamptz, but the column event_time is text"),
        ({}, {"event_time_type": "text"}, "source.event_time_type is text, but the column event_time is timestamp"),
        ({"event_time": "date"}, {"event_time_type": "timestamp"}, "but the column event_time is date"),
        ({"lead_created_at": "text"}, {}, "but the column lead_created_at is text"),
    ],
    ids=["no table", "no required column", "no named column", "no column of an odd name", "text for timestamptz",
         "timestamptz for text", "date", "another time of another type"],
)  # fmt: skip
def test_source_that_does_not_fit_is_told_in_one_sentence(
    company: Company, columns: dict[str, str | None], source: dict[str, object], message: str
) -> None:
    """A missing table, a missing column or a time of another type is told with file, key and remedy."""
    base = {"transition_id": "text", "stage": "text", "event_time": "timestamptz", "email": "text", **columns}
    create_source(company.warehouse, {name: kind for name, kind in base.items() if kind})
    company.configure(source=source)

    with pytest.raises(SourceError) as raised:
        company.extract()

    assert message in str(raised.value)
    assert str(raised.value).startswith("include/pipelines/conversion_leads.yaml: ")
    assert "\n" not in str(raised.value)


def test_failed_extraction_leaves_nothing_behind(company: Company) -> None:
    """Where the source cannot be read, there is no run, no staging table and no claim."""
    company.record_sound(3)
    company.warehouse.execute(
        """
        ALTER TABLE crm.lead_stage_transitions RENAME TO real;
        CREATE VIEW crm.lead_stage_transitions AS SELECT *, 1 / (length(stage) - 3) AS broken FROM crm.real;
        """
    )
    company.configure(source={"columns": {"value": "broken"}})

    with pytest.raises(WarehouseRefusedError, match=r"^extract/stage_rows: DivisionByZero \(SQLSTATE 22012\)"):
        company.extract()

    assert company.select("SELECT * FROM capi.run") == []
    assert company.ledger() == {}
    assert company.select("SELECT relname FROM pg_class WHERE relname ~ '^(staging|held_back)_.*[0-9a-f]{{16}}$'") == []


# What is taken again --------------------------------------------------------------------------------------------------


def test_second_run_takes_nothing_that_is_finished(company: Company) -> None:
    """Delivered, quarantined, skipped, expired: the next run has nothing to do."""
    company.record(
        company.transition(),
        company.transition(stage=None),
        company.transition(transition_id=None),
        company.transition(opted_out=True),
        company.transition(event_time=company.now - timedelta(days=7)),
        company.transition(event_time=None),
    )
    first, second = company.run_day(), company.run_day()

    assert (first.extraction and first.extraction.staged, second.extraction and second.extraction.staged) == (6, 0)
    assert (first.errors, second.errors) == ([], [])


@pytest.mark.sweep(keep=1)
@pytest.mark.parametrize(
    "twins",
    [
        [{"opted_out": True}, {}],
        [{}, {"opted_out": True}],
        [{"stage": None}, {}],
        [{"lead_id": "12"}, {"lead_id": "13"}, {"lead_id": "14"}],
    ],
    ids=["first opted out", "second opted out", "first without stage", "three that are all wrong"],
)
def test_rows_that_share_an_id_are_judged_once(company: Company, twins: list[dict[str, Any]]) -> None:
    """Of several rows with one transition id the first in time stands for it, in every run: none replaces it."""
    first_time = company.midnight - timedelta(hours=8)
    company.record(
        *(
            company.transition(transition_id="same", event_time=first_time + timedelta(hours=number), **changes)
            for number, changes in enumerate(twins)
        )
    )
    company.run_day()
    before = company.ledger()
    second = company.run_day()

    assert second.extraction
    assert second.extraction.staged == 0
    assert company.ledger() == before


def test_second_row_for_a_delivered_transition_is_put_on_record(company: Company) -> None:
    """A row that comes later with an id that was delivered is not sent, and not passed over silently."""
    company.record(company.transition(transition_id="same"))
    company.run_day()
    company.record(company.transition(transition_id="same", stage="won"))
    company.run_day()
    statuses = sorted((row["status"], row["reason"]) for row in company.ledger().values())

    assert statuses == [("delivered", None), ("quarantined", "transition_id_duplicate")]
    assert len(company.received()) == 1


def test_blank_transition_id_is_no_id(company: Company) -> None:
    """An empty text as id is a missing id: otherwise the first such row would stand for all others, for ever."""
    company.record(company.transition(transition_id=""), company.transition(transition_id=" \t"))
    company.run_day()
    reasons = [row["reason"] for row in company.ledger().values()]

    assert reasons == ["transition_id_missing"] * 2


def test_row_without_an_id_keeps_its_name_when_the_configuration_changes(company: Company) -> None:
    """What names a row without a transition id is its content alone: judged anew, it is the same row of the ledger."""
    create_source(company.warehouse)
    insert_transitions(company.warehouse, [company.transition(transition_id=None)])
    company.run_day()
    company.configure(description="another configuration")
    company.run_day()

    assert company.statuses() == {"quarantined": 1}


def test_rows_of_one_id_are_told_apart_beside_rows_that_are_not(company: Company) -> None:
    """The first in time of those that share an id stands for it; a row that shares nothing is not touched by that."""
    company.record(
        company.transition(transition_id="shared", event_time=company.midnight - timedelta(hours=2)),
        company.transition(transition_id="shared", event_time=company.midnight - timedelta(hours=3)),
        company.transition(transition_id="alone", event_time=company.midnight - timedelta(hours=1)),
    )
    extraction = company.extract()
    rows = [(row["transition_id"], row["occurrence"]) for row in company.staged(extraction.run_key)]

    assert rows == [("shared", 1), ("shared", 2), ("alone", 1)]


def test_repaired_row_is_taken_again(company: Company) -> None:
    """A quarantined row goes out with the next run after the CRM corrected it, under the same event id."""
    (event_id,) = company.record(company.transition(transition_id="t", stage="no such stage"))
    company.run_day()
    company.warehouse.execute("UPDATE crm.lead_stage_transitions SET stage = 'won'")
    company.run_day()

    assert company.outcomes() == {"t": ("delivered", None)}
    assert company.received_ids() == [event_id]


def test_changed_configuration_judges_a_row_again(company: Company) -> None:
    """A row whose stage was unmapped goes out once the stage map knows it."""
    (event_id,) = company.record(company.transition(transition_id="t", stage="demo booked"))
    company.run_day()
    company.configure(stages={**company.pipeline.stages, "demo booked": "Demo"})
    company.run_day()

    assert company.outcomes() == {"t": ("delivered", None)}
    assert company.received_ids() == [event_id]


def test_delivered_row_is_never_taken_again(company: Company) -> None:
    """What Meta has stays as it is, whatever changes in the row or the configuration."""
    company.judges_rows = False
    ids = company.record_sound(3)
    company.run_day()
    company.warehouse.execute("UPDATE crm.lead_stage_transitions SET email = 'other@example.com', stage = 'won'")
    company.configure(default_country="DE")
    second = company.run_day()

    assert second.extraction
    assert second.extraction.staged == 0
    assert sorted(company.received_ids()) == sorted(ids)


# Who holds a transition -----------------------------------------------------------------------------------------------


def test_running_run_keeps_its_transitions(company: Company) -> None:
    """While a run's lease lasts, another run takes none of its transitions and says how many it held back from."""
    company.record_sound(5)
    company.extract()
    other = company.extract()

    assert (other.staged, other.held) == (0, 5)


def test_dead_run_is_taken_over_after_its_lease(company: Company) -> None:
    """Once the lease is over the next run takes everything, and clears the dead run's tables away."""
    company.record_sound(5)
    dead = company.extract()
    company.end_lease(dead.run_key)
    heir = company.extract()

    assert (heir.staged, heir.held) == (5, 0)
    assert company.run_row(dead.run_key)["state"] == "abandoned"
    assert company.select("SELECT to_regclass({}) AS found", sql.Literal(f"capi.{staging_table_of(dead.run_key)}")) == [
        {"found": None}
    ]
    assert {row["run_key"] for row in company.ledger().values()} == {heir.run_key}


def test_cleared_dag_run_takes_over_from_itself_at_once(company: Company) -> None:
    """A new pass of the same DAG run waits for no lease."""
    company.record_sound(5)
    first = company.extract(company.facts("daily"))
    second = company.extract(company.facts("daily"))

    assert first.run_key != second.run_key
    assert (second.staged, second.held) == (5, 0)


@pytest.mark.parametrize("attempt", range(3))
def test_two_extractions_at_once_share_nothing(company: Company, attempt: int) -> None:
    """Two runs that start at the same moment never claim one transition twice."""
    company.record_sound(200)
    company.extract(company.facts(days=1, end=company.midnight - timedelta(days=30)))  # the schema is there
    barrier = threading.Barrier(2, timeout=60)
    results = []

    def work(name: str) -> None:
        with company.connect() as connection:
            barrier.wait()
            results.append(extract(connection, company.pipeline, company.facts(name), now=company.now))

    threads = [threading.Thread(target=work, args=(f"run-{attempt}-{number}",)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    staged = [row["event_id"] for result in results for row in company.staged(result.run_key)]

    assert sorted((result.staged, result.held) for result in results) == [(0, 200), (200, 0)]
    assert len(staged) == len(set(staged)) == 200


def test_pending_events_beyond_the_window_expire_on_record(company: Company) -> None:
    """What an outage of weeks left behind is not forgotten: the next run counts it as expired."""
    company.judges_rows = False
    company.record_sound(4)
    dead = company.extract()
    company.end_lease(dead.run_key)
    company.move_clock(timedelta(days=20))
    day = company.run_day()

    assert day.errors == []
    assert day.extraction
    assert (day.extraction.staged, day.extraction.expired) == (0, 4)
    assert set(company.outcomes().values()) == {("expired", "event_too_old")}
    assert_conserved(company, day.run_key)


def test_backfill_leaves_what_other_days_have_pending(company: Company) -> None:
    """A run of exactly one interval expires nothing outside of it; the next daily run does."""
    company.judges_rows = False
    old = company.midnight - timedelta(days=20)
    company.record(company.transition(event_time=old + timedelta(hours=1)))
    backfill = company.facts(start=old, end=old + timedelta(days=1), is_sweep=False)
    company.end_lease(company.extract(backfill).run_key)
    of_another_day = company.run_day(company.facts(days=1, is_sweep=False))
    untouched = company.statuses()
    daily = company.run_day()

    assert of_another_day.errors == daily.errors == []
    assert untouched == {"pending": 1}
    assert company.statuses() == {"expired": 1}


def test_row_without_an_id_never_stays_pending(company: Company) -> None:
    """Left pending by a dead run and edited since, it is another row to all later runs: both go on record."""
    company.record(company.transition(transition_id=None))
    company.end_lease(company.extract().run_key)
    company.warehouse.execute("UPDATE crm.lead_stage_transitions SET stage = 'won'")
    day = company.run_day()

    assert day.errors == []
    assert {(row["stage"], row["status"], row["reason"]) for row in company.ledger().values()} == {
        ("new", "quarantined", "transition_id_missing"),
        ("won", "quarantined", "transition_id_missing"),
    }


def test_row_without_a_time_never_stays_pending(company: Company) -> None:
    """Left pending by a dead run and deleted from the source since, no window reaches it: it goes on record."""
    company.record(company.transition(event_time=None))
    company.end_lease(company.extract().run_key)
    company.warehouse.execute("DELETE FROM crm.lead_stage_transitions")
    of_a_day = company.run_day(company.facts(days=1, is_sweep=False))
    untouched = company.statuses()
    sweep = company.run_day()

    assert of_a_day.errors == sweep.errors == []
    assert untouched == {"pending": 1}
    assert list(company.outcomes().values()) == [("quarantined", "event_time_missing")]


@pytest.mark.parametrize("mode", [Mode.PREVIEW, Mode.TEST])
def test_preview_and_test_leave_the_ledger_alone(company: Company, mode: Mode) -> None:
    """Neither claims a transition, so that the live run finds all of them."""
    company.judges_rows = False
    company.record_sound(3)
    trial = company.run_day(company.facts(mode=mode), test_event_code="TEST1" if mode is Mode.TEST else None)
    ledger_after_trial = company.ledger()
    live = company.run_day()

    assert (trial.errors, ledger_after_trial) == ([], {})
    assert live.extraction
    assert (live.extraction.staged, live.extraction.held) == (3, 0)


def test_test_run_takes_events_that_can_be_sent(company: Company) -> None:
    """A test is about a few of the newest events: the oldest of the window, too old for Meta, would test nothing."""
    old = company.now - timedelta(days=7, hours=3)
    company.configure(delivery={"test_events": 5})
    company.record_sound(20, event_time=old)
    company.record(company.transition(event_time=None), company.transition(event_time=company.now + timedelta(days=3)))
    sound = company.record_sound(10)
    day = company.run_day(company.facts(mode=Mode.TEST), test_event_code="TEST1")

    assert day.errors == []
    assert company.received_ids() == sound[-5:]


# One event, one id ----------------------------------------------------------------------------------------------------

odd_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=80)


@settings(max_examples=8, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=st.lists(odd_texts.filter(lambda text: text.strip(" \t\r\n")), min_size=20, max_size=120, unique=True))
def test_event_ids_of_sql_and_python_are_the_same(company: Company, ids: list[str]) -> None:
    """Whatever is in a transition id, SQL and Python make the same event id of it."""
    create_source(company.warehouse)
    company.warehouse.execute("TRUNCATE crm.lead_stage_transitions")
    insert_transitions(company.warehouse, [company.transition(transition_id=text) for text in ids])
    extraction = company.extract(company.facts(mode=Mode.PREVIEW))
    staged = {row["transition_id"]: row["event_id"] for row in company.staged(extraction.run_key)}

    assert staged == {text: event_id_of(company.pipeline.name, text) for text in ids}


def test_pipelines_do_not_share_event_ids(company: Company) -> None:
    """The same transition is another event in another pipeline: each has a dataset of its own."""
    company.judges_rows = False
    company.record(company.transition(transition_id="t"))
    company.run_day()
    company.pipeline = configured(company.pipeline, name="second_dataset")
    company.run_day()

    assert company.received_ids() == [
        str(event_id_of("conversion_leads", "t")),
        str(event_id_of("second_dataset", "t")),
    ]


def test_two_pipelines_on_one_table_do_not_disturb_each_other(company: Company) -> None:
    """Each sends every row as an event of its own, under its own names; neither waits for the other."""
    company.judges_rows = False
    company.record_sound(7)
    first = company.pipeline
    second = configured(first, name="second_brand", stages={"new": "Prospect"})
    at_work = company.prepare()
    company.end_lease(at_work.run_key)
    company.pipeline = second
    other = company.run_day()
    state_meanwhile = company.run_row(at_work.run_key)["state"]
    company.pipeline = first
    for shard in at_work.shards:
        company.load(shard)
    company.audit(at_work.run_key)

    assert (other.errors, other.extraction and other.extraction.held, state_meanwhile) == ([], 0, "running")
    assert sorted((event["event_id"], event["event_name"]) for event in company.received()) == sorted(
        (str(event_id_of(pipeline.name, f"t-{number:05d}")), pipeline.stages["new"])
        for pipeline in (first, second)
        for number in range(1, 8)
    )
    for run_key in (at_work.run_key, other.run_key):
        assert_conserved(company, run_key)


def test_times_do_not_depend_on_the_session(company: Company) -> None:
    """The warehouse's own time zone changes nothing about what is read."""
    company.judges_rows = False
    moment = datetime.combine(company.midnight - timedelta(days=1), datetime.min.time(), tzinfo=UTC)
    company.warehouse.execute("SET TimeZone = 'Pacific/Kiritimati'")
    company.record(company.transition(event_time=moment))
    first = company.run_day()
    company.warehouse.execute("SET TimeZone = 'America/Adak'")
    second = company.run_day()

    assert (first.errors, second.errors) == ([], [])
    assert second.extraction
    assert second.extraction.staged == 0
    assert [event["event_time"] for event in company.received()] == [int(moment.timestamp())]
