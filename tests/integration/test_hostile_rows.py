"""What CRMs, spreadsheets and people put into a table: each such row is in the ledger, with the right reason."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from daily_run import assert_conserved, create_source, insert_transitions

from crm_to_meta.errors import ConfigurationError, SourceError
from crm_to_meta.pipeline.settings import OwnRule

if TYPE_CHECKING:
    from daily_run import Company, Row

MEGABYTE = "x" * 1_000_000
SQL = "'); DROP TABLE capi.delivery; --"
NASTY = {
    "a megabyte": MEGABYTE,
    "control characters": "a\x01\x08\x1b[2J\x7f\u0085b",
    "what looks like NUL": "\\0 \\x00 \\u0000 %00 \u2400",
    "quotes": "\"'`$$ E'\\''",
    "semicolons": ";;; -- /* */",
    "placeholders": "%s %(run_key)s {staging} $1 :name",
    "SQL": SQL,
    "right to left": "\u202eeslaf\u202c \ufeff \u200b",
    "a lone accent": "\u0301",
    "formula": "=HYPERLINK(A1)",
}
TEXT_FIELDS = (
    "email", "phone", "first_name", "last_name", "gender", "date_of_birth", "city", "state", "zip", "country",
    "external_id", "fbc", "fbclid", "fbp", "value", "currency",
)  # fmt: skip


@pytest.fixture
def company(company: Company) -> Company:
    """A company that sends what is sound however much of it is not."""
    company.configure(quality={"max_quarantined_share": 1})
    return company


@pytest.mark.sweep(keep=4)
@pytest.mark.parametrize(
    ("lead_id", "reason"),
    [
        ("1.23457E+15", "lead_id_invalid"),
        ("1234567890123456.0", "lead_id_invalid"),
        ("+123456789012345", "lead_id_invalid"),
        ("-123456789012345", "lead_id_invalid"),
        ("١٢٣٤٥٦٧٨٩٠١٢٣٤٥", "lead_id_invalid"),
        ("１２３４５６７８９０１２３４５", "lead_id_invalid"),
        ("1234 5678 9012 345", "lead_id_invalid"),
        ("1" * 14, "lead_id_invalid"),
        ("1" * 18, "lead_id_invalid"),
        ("000000000000000", "lead_id_invalid"),
        ("0123456789012345", "lead_id_invalid"),
        ("l:0123456789012345", "lead_id_invalid"),
        ("l:", None),
        ("l:1.23457E+15", "lead_id_invalid"),
        ("ll:123456789012345", "lead_id_invalid"),
        ("123456789012345\n", None),
        ("\t 123456789012345 ", None),
        ("l:123456789012345", None),
        ("l: 12345678901234567", None),
        (SQL, "lead_id_invalid"),
        (MEGABYTE, "lead_id_invalid"),
    ],
    ids=lambda text: repr(text)[:24],
)
def test_lead_ids(company: Company, lead_id: str, reason: str | None) -> None:
    """A lead id is 15 to 17 ASCII digits, the first not 0; blanks around it and the label of an export do not count."""
    company.record(company.transition(transition_id="t", lead_id=lead_id), company.transition(transition_id="sound"))
    day = company.run_day()
    expected = ("quarantined", reason) if reason else ("delivered", None)
    digits = "".join(character for character in lead_id if character.isascii() and character.isdigit())
    kept = [row["lead_id"] for row in company.ledger().values() if row["transition_id"] == "t"]

    assert day.errors == []
    assert company.outcomes() == {"t": expected, "sound": ("delivered", None)}
    assert kept == [int(digits) if digits and not reason else None]
    assert_conserved(company, day.run_key)


AMOUNTS: dict[tuple[str | None, str | None], str | tuple[float, str] | None] = {
    ("12.50", "EUR"): (12.5, "EUR"),
    (" 12.00\n", " eur\t"): (12, "EUR"),
    ("1e3", "inr"): (1000, "INR"),
    ("-0.0", "usd"): (0, "USD"),
    ("+.5", "USD"): (0.5, "USD"),
    ("-5.", "USD"): (-5, "USD"),
    ("1e-05", "USD"): (0.00001, "USD"),
    ("5e-324", "USD"): (5e-324, "USD"),
    ("1e-400", "USD"): (0, "USD"),
    ("999999999999999.5", "USD"): (999999999999999.5, "USD"),
    ("1000000000000000", "USD"): (10**15, "USD"),
    **{(value, "USD"): None for value in (None, "", " ", "\t\n")},
    (None, "Euro"): None,
    **{(value, "USD"): "value_invalid" for value in (
        "n/a", "12,50", "1,200.50", "$5", "1 000", "1_000", "0x10", ".", "5e", "\u0661\u0662", "12\u00a0", "12\u2003",
        "NaN", "sNaN", "nan", "Infinity", "-inf", "1000000000000000.01", "-1e16", "1e400", "1e5000", "-1e99999999999",
        "9" * 5000, "0." + "1" * 200_000,
    )},
    ("12,50", None): "value_invalid",
    **{("5", currency): "value_without_currency" for currency in (
        None, "", "  ", "US", "USDT", "U$D", "12A", "\u20ac", "Euro", "\u00dcSD", "\uff35\uff33\uff24", "E U R",
    )},
}  # fmt: skip


def test_amounts(company: Company) -> None:
    """A value goes out with its currency; where either cannot be used the row is held back, and a blank is no value."""
    columns = {
        "transition_id": "text",
        "lead_id": "text",
        "stage": "text",
        "event_time": "timestamptz",
        "email": "text",
    }
    create_source(company.warehouse, {**columns, "value": "text", "currency": "text"})
    names = {
        str(event_id): amount
        for amount in AMOUNTS
        for event_id in company.record(company.transition(value=amount[0], currency=amount[1]))
    }
    day = company.run_day()
    held_back = {names[name]: row["reason"] for name, row in company.ledger().items() if row["status"] == "quarantined"}
    sent = {names[event["event_id"]]: event["custom_data"] for event in company.received()}
    money = {amount: (data["value"], data["currency"]) if "value" in data else None for amount, data in sent.items()}

    assert day.errors == []
    assert {**held_back, **money} == AMOUNTS
    assert_conserved(company, day.run_key)


TIMES: dict[str, dict[str, tuple[Any, str | None]]] = {
    "timestamptz": {
        "infinity": ("infinity", "event_time_invalid"),
        "-infinity": ("-infinity", "event_time_invalid"),
        "year 1": ("0001-01-01 00:00:00+00", "event_time_invalid"),
        "before Christ": ("0044-03-15 12:00:00+00 BC", "event_time_invalid"),
        "year 9999": ("9999-06-01 00:00:00+00", "event_time_future"),
        "end of year 9999": ("9999-12-31 23:59:59+00", "event_time_invalid"),
        "PostgreSQL's last year": ("294276-12-31 00:00:00+00", "event_time_invalid"),
        "none": (None, "event_time_missing"),
    },
    "timestamp": {
        "infinity": ("infinity", "event_time_invalid"),
        "year 1": ("0001-01-01 00:00:00", "event_time_invalid"),
        "in the gap": ("2026-03-29 02:30:00", "event_time_invalid"),
        "none": (None, "event_time_missing"),
    },
    "text": {
        "infinity": ("infinity", "event_time_invalid"),
        "year 1": ("0001-01-01T00:00:00Z", "event_time_invalid"),
        "year 9999": ("9999-06-01T00:00:00Z", "event_time_future"),
        "in the gap": ("2026-03-29T02:30:00", "event_time_invalid"),
        "no such day": ("2026-02-30T10:00:00", "event_time_invalid"),
        "milliseconds": ("1767225600000", "event_time_invalid"),
        "digits of other scripts": ("٢٠٢٦-٠١-٠١T١٠:٠٠", "event_time_invalid"),
        "SQL": (SQL, "event_time_invalid"),
        "a megabyte": (MEGABYTE, "event_time_invalid"),
        "blank": (" ", "event_time_invalid"),
        "none": (None, "event_time_missing"),
    },
    "epoch_seconds": {
        "milliseconds": ("1767225600000", "event_time_invalid"),
        "microseconds": ("1767225600000000", "event_time_invalid"),
        "a wide blank": ("1767225600\u2003", "event_time_invalid"),
        "negative": ("-1", "event_time_invalid"),
        "a float of a spreadsheet": ("1.7672256E+09", "event_time_invalid"),
        "beyond year 9999": ("99999999999", "event_time_future"),
        "digits of other scripts": ("١٧٦٧٢٢٥٦٠٠", "event_time_invalid"),
        "none": (None, "event_time_missing"),
    },
}


@pytest.mark.parametrize("kind", TIMES)
def test_times(company: Company, kind: str) -> None:
    """What is no point in time is told as such, in whichever way times are written; none is invented or moved."""
    column = "text" if kind == "epoch_seconds" else kind
    create_source(company.warehouse, {"transition_id": "text", "stage": "text", "event_time": column, "email": "text"})
    company.configure(source={"event_time_type": kind}, time_zone="Europe/Berlin")
    insert_transitions(
        company.warehouse,
        [
            {"transition_id": name, "stage": "new", "event_time": time, "email": f"{number}@example.com"}
            for number, (name, (time, _)) in enumerate(TIMES[kind].items())
        ],
    )
    day = company.run_day()

    assert day.errors == []
    assert company.outcomes() == {name: ("quarantined", reason) for name, (_, reason) in TIMES[kind].items()}
    assert {row["reason"] for row in company.ledger().values() if row["event_time"]} <= {"event_time_future"}
    assert_conserved(company, day.run_key)


def test_both_sides_of_a_gap_are_times(company: Company) -> None:
    """The last minute before the clock is put forward and the first one after it are a minute apart."""
    moments = company.select(
        """
        SELECT capi.time_from_local('2026-03-29 01:59', 'Europe/Berlin') AS before,
            capi.time_from_local('2026-03-29 02:00', 'Europe/Berlin') AS inside,
            capi.time_from_local('2026-03-29 03:00', 'Europe/Berlin') AS after,
            capi.time_from_local('2026-10-25 02:30', 'Europe/Berlin') AS twice
        """
    )[0]

    assert moments["inside"] is None
    assert moments["after"] - moments["before"] == timedelta(minutes=1)
    assert moments["twice"] is not None


def hostile_rows(company: Company) -> list[Row]:
    """Return rows with each nasty text in each text column, and something to match by."""
    return [
        company.transition(**{
            "transition_id": f"{field}, {name}", **({"value": "1", "currency": "EUR"} if field == "value" else {}),
            field: text,
        })
        for field in TEXT_FIELDS
        for name, text in NASTY.items()
    ]  # fmt: skip


def test_text_in_every_column(company: Company) -> None:
    """A text of a megabyte, control characters, quotes and SQL cost the field, never the row, nor any other row.

    But for a value that is no number: its row is held back.
    """
    columns = {"transition_id": "text", "lead_id": "text", "stage": "text", "event_time": "timestamptz"}
    create_source(company.warehouse, {**columns, **dict.fromkeys(TEXT_FIELDS, "text")})
    rows = hostile_rows(company)
    insert_transitions(company.warehouse, sorted(rows, key=tuple))
    day = company.run_day()
    unlike = {name: found for name, found in company.outcomes().items() if found != ("delivered", None)}

    assert day.errors == []
    assert {name: found for name, found in unlike.items() if not str(name).startswith("fbc,")} == {
        f"value, {name}": ("quarantined", "value_invalid") for name in NASTY
    }
    assert len(company.ledger()) == len(rows)
    assert_conserved(company, day.run_key)


@pytest.mark.sweep(keep=3)
@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY.keys())
def test_stages(company: Company, text: str) -> None:
    """A stage may be called anything: it is on record, cut at 100 characters, and unmapped."""
    company.record(company.transition(transition_id="t", stage=text), company.transition(transition_id="sound"))
    day = company.run_day()
    stage = next(row["stage"] for row in company.ledger().values() if row["transition_id"] == "t")

    assert day.errors == []
    assert company.outcomes() == {"t": ("quarantined", "stage_unmapped"), "sound": ("delivered", None)}
    assert stage == text.strip(" \t\r\n")[:100]
    assert_conserved(company, day.run_key)


@pytest.mark.sweep(keep=2)
@pytest.mark.parametrize("text", [text for name, text in NASTY.items() if name != "a megabyte"], ids=repr)
def test_transition_ids(company: Company, text: str) -> None:
    """An id may be anything that is text; each event has an id of its own."""
    company.record(company.transition(transition_id=text), company.transition(transition_id=f"{text}2"))
    day = company.run_day()

    assert day.errors == []
    assert company.outcomes() == {text: ("delivered", None), f"{text}2": ("delivered", None)}
    assert len(set(company.received_ids())) == 2


def test_column_names(company: Company) -> None:
    """Columns may be called what they like, and a rule of one's own is about the field, not about the column."""
    names = {
        "transition_id": 'id"; DROP SCHEMA capi; --',
        "stage": "st%age's",
        "event_time": "{at}",
        "email": "e;m\u00e4il",
    }
    create_source(
        company.warehouse,
        {column: "timestamptz" if field == "event_time" else "text" for field, column in names.items()},
    )
    rule = OwnRule(type="expect_column_value_lengths_to_be_between", kwargs={"column": "email", "max_value": 15},
                   quarantine=True)  # fmt: skip
    company.configure(source={"columns": names}, quality={"expectations": [rule.model_dump()]})
    rows = [company.transition(transition_id="good", email="a@example.com"), company.transition(transition_id="long")]
    rows[1]["email"] = "much.too.long@example.com"
    insert_transitions(company.warehouse, [{names[field]: row[field] for field in names} for row in rows])
    day = company.run_day()

    assert day.errors == []
    assert company.outcomes() == {"good": ("delivered", None), "long": ("quarantined", "own_rule")}


def test_empty_table(company: Company) -> None:
    """A table without a row is a day without a fault, and no share of nothing is judged."""
    company.record()
    day = company.run_day()
    quality = company.select("SELECT * FROM capi.quality")

    assert day.errors == []
    assert quality
    assert all(row["success"] for row in quality)
    assert company.run_row(day.run_key)["quality_verdict"] == "passed"
    assert company.select("SELECT result -> 'success' AS success FROM capi.quality_result") == [{"success": True}]


def test_all_rows_bad_in_every_way(company: Company) -> None:
    """Rows that break nearly every rule are counted in each, held back once, and nothing is left to send."""
    bad = {"transition_id": None, "stage": None, "event_time": None, "lead_id": "12", "value": 1, "email": None}
    company.record(*(company.transition(**bad, first_name=f"{number}") for number in range(50)))
    day = company.run_day()
    failed = {row["reason"]: row["failed"] for row in company.select("SELECT * FROM capi.quality") if row["failed"]}

    assert (day.errors, day.shards) == ([], [])
    assert company.statuses() == {"quarantined": 50}
    assert {row["reason"] for row in company.ledger().values()} == {"transition_id_missing"}
    assert {name: failed[name] for name in ("stage_missing", "event_time_missing", "lead_id_invalid")} == dict.fromkeys(
        ("stage_missing", "event_time_missing", "lead_id_invalid"), 50
    )
    assert_conserved(company, day.run_key)


def test_unknown_column_of_the_source(company: Company) -> None:
    """A column that the table does not have is told with its key, before anything is staged."""
    company.record_sound(1)
    company.configure(source={"columns": {"email": "e_mail"}})

    with pytest.raises(SourceError, match=r"has no column e_mail for the field email; name it under source\.columns"):
        company.run_day()


def test_rule_that_does_not_suit_its_column(company: Company) -> None:
    """An expectation that PostgreSQL cannot work out names the rule and the file; everything stays pending."""
    rule = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "opted_out", "min_value": 5}}
    company.configure(quality={"expectations": [{**rule, "description": "odd rule"}]})
    company.record_sound(2)
    run_key = company.extract().run_key

    with pytest.raises(ConfigurationError, match=r'"odd rule" of include/pipelines/.*quality\.expectations'):
        company.validate(run_key)
    assert company.statuses() == {"pending": 2}
