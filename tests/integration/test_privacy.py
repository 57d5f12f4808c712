"""Law 5: no personal value and no token is anywhere but in the source, in staging while a run works, and in memory."""

from __future__ import annotations

import logging
import traceback
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from daily_run import CRM_NAME, Company
from leaks import find_leaks
from psycopg import sql

from crm_to_meta.errors import CrmToMetaError, WarehouseRefusedError
from crm_to_meta.meta.client import MetaClient, MetaSettings
from crm_to_meta.models import Mode, staging_table_of
from crm_to_meta.report import render_report
from crm_to_meta_demo.sample_crm import build_transitions, deleted_lead_ids, fill_sample_crm, personal_values

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LEADS = 400
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)  # of a day whose sample is known: it depends on the calendar
NOSY_RULES = [  # each is broken, and Great Expectations would show values that break it
    {
        "type": "expect_column_values_to_not_match_regex",
        "kwargs": {"column": "email", "regex": "."},
        "severity": "info",
    },
    {"type": "expect_column_distinct_values_to_contain_set", "kwargs": {"column": "last_name", "value_set": ["none"]}},
    {"type": "expect_column_distinct_values_to_be_in_set", "kwargs": {"column": "phone", "value_set": ["none"]}},
    {"type": "expect_column_most_common_value_to_be_in_set", "kwargs": {"column": "city", "value_set": ["none"]}},
    {"type": "unexpected_rows_expectation", "kwargs": {"unexpected_rows_query": "SELECT * FROM {batch}"}},
]
SECRETS = ("ada.lovelace@example.com", "+12025550143", "Lovelace")


def dump_warehouse(company: Company) -> str:
    """Return everything in the schema capi as text: relations, all columns of all rows, bodies unpacked."""
    relations = company.select(
        "SELECT relname FROM pg_class WHERE relnamespace = 'capi'::regnamespace AND relkind IN ('r', 'v')"
    )
    lines = [repr(relation) for relation in relations]
    for relation in relations:
        for row in company.select("SELECT * FROM {}", sql.Identifier("capi", relation["relname"])):
            if "body" in row:
                row["body"] = zlib.decompress(row["body"]).decode()
            lines += [str(value) for value in row.values()]
    return "\n".join(lines)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Everything that anybody logs, down to the last detail."""
    caplog.set_level(logging.DEBUG)
    return caplog


@pytest.mark.thorough
def test_sample_crm_leaves_no_personal_value_behind(
    company: Company, log: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """After runs in all three modes no table, request, log, report or Data Docs hold a personal value or the token."""
    company.move_clock(NOON - company.now)
    today = NOON.date()
    fill_sample_crm(company.warehouse, today, leads=LEADS)
    transitions = build_transitions(today, leads=LEADS)
    values = [*personal_values(transitions), company.token]
    company.configure(delivery={"chunk_size": 200}, quality={"data_docs": str(tmp_path), "expectations": NOSY_RULES})
    company.stand_in.set_settings(deleted_lead_ids=deleted_lead_ids(transitions))
    days = [
        company.run_day(company.facts(mode=Mode.PREVIEW)),
        company.run_day(company.facts(mode=Mode.TEST), test_event_code="TEST1"),
        company.run_day(),
    ]
    delivered = company.run_row(days[-1].run_key)["delivered"]
    dump, sent = dump_warehouse(company), "\n".join(map(str, company.stand_in.events()))
    reports = "\n".join(render_report(company.warehouse, day.run_key) for day in days)
    docs = [path.read_text(encoding="utf-8") for path in tmp_path.rglob("*") if path.suffix in {".html", ".json"}]
    broken = company.select("SELECT * FROM capi.quality WHERE reason = 'own_rule' AND NOT success")

    assert [day.errors for day in days] == [[], [], []]
    assert delivered > LEADS
    assert len(values) > LEADS
    assert find_leaks(dump, values) == []
    assert find_leaks(sent, values) == []
    assert find_leaks(reports, values) == []
    assert len(broken) == len(days) * len(NOSY_RULES)
    assert len(docs) > len(days)
    assert find_leaks("\n".join(docs), values) == []
    assert find_leaks(log.text, values) == []
    assert find_leaks(repr(days), values) == []


def test_hunt_finds_what_is_there(company: Company) -> None:
    """The hunt itself works: while rows are staged, it finds them."""
    company.record(company.transition(email=SECRETS[0], phone=SECRETS[1], first_name=SECRETS[2]))
    company.extract()

    assert find_leaks(dump_warehouse(company), list(SECRETS)) == list(SECRETS)


def read_email_as_number(company: Company) -> None:
    """Let a column of the source fail with the e-mail in PostgreSQL's message."""
    company.warehouse.execute(
        """
        ALTER TABLE crm.lead_stage_transitions RENAME TO real;
        CREATE VIEW crm.lead_stage_transitions AS
            SELECT transition_id, stage, event_time, email::integer AS lead_id FROM crm.real;
        """
    )


def divide_by_zero(company: Company) -> None:
    """Let a column of the source fail for this very person."""
    company.warehouse.execute(
        sql.SQL("""
        ALTER TABLE crm.lead_stage_transitions RENAME TO real;
        CREATE VIEW crm.lead_stage_transitions AS
            SELECT transition_id, stage, event_time, email, 1 / (length(email) - length({})) AS value FROM crm.real;
        """).format(sql.Literal(SECRETS[0]))
    )


def cast_to_enum(company: Company) -> None:
    """Let the stage fail with its text in PostgreSQL's message."""
    company.warehouse.execute(
        """
        CREATE TYPE crm.stage AS ENUM ('new');
        ALTER TABLE crm.lead_stage_transitions RENAME TO real;
        CREATE VIEW crm.lead_stage_transitions AS
            SELECT transition_id, (CASE WHEN stage <> '' THEN first_name END)::crm.stage AS stage, event_time
            FROM crm.real;
        """
    )


@pytest.mark.parametrize("spoil", [read_email_as_number, divide_by_zero, cast_to_enum])
def test_failing_source_is_told_without_its_values(
    company: Company, spoil: Callable[[Company], None], log: pytest.LogCaptureFixture
) -> None:
    """PostgreSQL quotes the value that it could not read; neither error, nor traceback, nor log repeats it."""
    company.record(company.transition(email=SECRETS[0], phone=SECRETS[1], first_name=SECRETS[2]))
    spoil(company)

    with pytest.raises(WarehouseRefusedError, match="SQLSTATE") as raised:
        company.extract()
    told = "".join(traceback.format_exception(raised.value))

    assert find_leaks(told + repr(raised.value) + log.text, list(SECRETS)) == []


@pytest.mark.parametrize("step", ["validate", "transform"])
def test_failing_staging_is_told_without_its_values(company: Company, step: str, log: pytest.LogCaptureFixture) -> None:
    """The same for the steps that read staged rows, Great Expectations included."""
    company.record(company.transition(email=SECRETS[0], phone=SECRETS[1], first_name=SECRETS[2]))
    run_key = company.extract().run_key
    (shard,) = company.validate(run_key).shards
    name = staging_table_of(run_key)
    columns = [row["attname"] for row in company.select(
        "SELECT attname FROM pg_attribute WHERE attrelid = {}::regclass AND attnum > 0", sql.Literal(f"capi.{name}")
    )]  # fmt: skip
    broken = sql.SQL(", ").join(
        sql.SQL("email::integer::text AS lead_id") if column == "lead_id" else sql.Identifier(column)
        for column in columns
    )
    company.warehouse.execute(
        sql.SQL("ALTER TABLE {} RENAME TO real; CREATE VIEW {} AS SELECT {} FROM capi.real").format(
            sql.Identifier("capi", name), sql.Identifier("capi", name), broken
        )
    )

    with pytest.raises(CrmToMetaError) as raised:
        company.validate(run_key) if step == "validate" else company.transform(shard)
    told = "".join(traceback.format_exception(raised.value))

    assert find_leaks(told + repr(raised.value) + log.text, list(SECRETS)) == []


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:1", "http://localhost:1/?access_token="])
def test_failed_connection_is_told_without_the_token(
    company: Company, base_url: str, log: pytest.LogCaptureFixture
) -> None:
    """Errors of the HTTP library may hold the URL; ours hold neither that nor a header."""
    token = "EAAB-very-secret-token"
    company.record_sound(1)
    (shard,) = company.prepare().shards
    settings = MetaSettings(dataset_id="4711", crm_name=CRM_NAME, token=token, base_url=base_url)

    with pytest.raises(CrmToMetaError) as raised:
        company.load(shard, client=MetaClient(settings, timeout_s=1))
    told = "".join(traceback.format_exception(raised.value))

    assert find_leaks(told + repr(settings) + repr(raised.value) + log.text, [token]) == []
    assert find_leaks(dump_warehouse(company), [token]) == []


def test_refusals_of_meta_are_told_without_their_text(company: Company, log: pytest.LogCaptureFixture) -> None:
    """Meta's messages may quote what was sent: only codes and the trace id are kept."""
    company.record_sound(2)
    error = {"code": 100, "error_subcode": 2804019, "message": f"Invalid: {SECRETS[0]}", "error_user_msg": SECRETS[1]}
    company.stand_in.set_faults([{"kind": "answer", "json": {"error": {**error, "fbtrace_id": "Abc"}}}])
    day = company.run_day()

    assert company.statuses() == {"rejected": 2}
    assert find_leaks(dump_warehouse(company) + repr(day) + log.text, list(SECRETS)) == []
