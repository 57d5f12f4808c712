"""Validate: each rule holds back exactly the rows that break it, and a batch that is bad as a whole stops the run."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from daily_run import Company, assert_conserved
from psycopg import sql

from crm_to_meta.errors import (
    BatchRefusedError,
    ConfigurationError,
    DeliveryIncompleteError,
    StagingLostError,
    WarehouseError,
)
from crm_to_meta.models import BatchReason, Mode, staging_table_of
from crm_to_meta.pipeline.settings import PIPELINES_FOLDER
from crm_to_meta.validate import gx_pushdown
from crm_to_meta.validate.contract import row_rules
from crm_to_meta.validate.gx_pushdown import Answers, check_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MANY = 5_000  # far beyond the 20 failing rows that Great Expectations lists


def breaking_rows(company: Company) -> dict[str, dict[str, Any]]:
    """Return for each rule, by its reason, what makes a sound row break it and nothing before it."""
    event_time = company.midnight - timedelta(hours=6)
    return {
        "opted_out": {"opted_out": True},
        "stage_missing": {"stage": "  "},
        "stage_unmapped": {"stage": "no such stage"},
        "event_time_missing": {"event_time": None},
        "event_time_invalid": {"event_time": "infinity"},
        "event_time_future": {"event_time": company.now + timedelta(minutes=2)},
        "event_too_old": {"event_time": company.now - timedelta(days=7) + timedelta(minutes=59)},
        "lead_id_invalid": {"lead_id": "1.23457E+15"},
        "event_before_lead": {"event_time": event_time, "lead_created_at": event_time + timedelta(seconds=1)},
        "value_invalid": {"value": "NaN", "currency": "EUR"},
        "value_without_currency": {"value": 1, "currency": "Euro"},
        "no_identifier": {"lead_id": None, "email": "\u00a0 "},
    }


def contract_of(company: Company) -> list[str]:
    """Return the reasons of all rules, in their order."""
    return [*(str(rule.reason) for rule in row_rules(company.pipeline, company.now)), *BatchReason]


STATUS_OF = {"opted_out": "skipped", "event_too_old": "expired"}


def test_every_rule_holds_back_its_row(company: Company) -> None:
    """A row that breaks one rule gets that rule's reason and status; the row beside it that just keeps it goes on."""
    event_time = company.midnight - timedelta(hours=6)
    company.configure(quality={"max_quarantined_share": 1})
    company.record(
        *(company.transition(transition_id=reason, **changes) for reason, changes in breaking_rows(company).items()),
        company.transition(transition_id=None),
        company.transition(transition_id="twice", event_time=event_time),
        company.transition(transition_id="twice", event_time=event_time + timedelta(seconds=1)),
        company.transition(transition_id="just young enough", event_time=company.now - timedelta(days=7, hours=-1)),
        company.transition(transition_id="15 digits", lead_id="1" * 15),
        company.transition(transition_id="17 digits", lead_id="9" * 17),
        company.transition(transition_id="at once", event_time=event_time, lead_created_at=event_time),
        company.transition(transition_id="priced", value=0, currency="EUR"),
        company.transition(transition_id="e-mail only", lead_id=" "),
    )
    day = company.run_day()
    found = sorted((row["status"], row["reason"]) for row in company.ledger().values() if row["reason"])
    reasons = [*breaking_rows(company), "transition_id_missing", "transition_id_duplicate"]

    assert day.errors == []
    assert found == sorted((STATUS_OF.get(reason, "quarantined"), reason) for reason in reasons)
    assert {row["transition_id"] for row in company.ledger().values() if row["status"] == "delivered"} == {
        "twice", "just young enough", "15 digits", "17 digits", "at once", "priced", "e-mail only",
    }  # fmt: skip
    assert set(reasons) == {str(rule.reason) for rule in row_rules(company.pipeline, company.now)}
    assert_conserved(company, day.run_key)


def test_first_rule_that_a_row_breaks_gives_the_reason(company: Company) -> None:
    """A row that breaks a rule and all that can be broken after it is told by the first alone, and counted once."""
    rows = list(breaking_rows(company).items())
    company.configure(quality={"max_quarantined_share": 1})
    company.record(
        *(
            company.transition(**dict(pair for _, later in reversed(rows[number:]) for pair in later.items()),
                               transition_id=reason)
            for number, (reason, _) in enumerate(rows)
        )
    )  # fmt: skip
    day = company.run_day()

    assert {name: reason for name, (_, reason) in company.outcomes().items()} == {reason: reason for reason, _ in rows}
    assert_conserved(company, day.run_key)


def test_unmapped_stages_may_be_skipped(company: Company) -> None:
    """`unmapped_stages: skip` makes an unmapped stage no fault."""
    company.configure(unmapped_stages="skip")
    company.record(company.transition(transition_id="t", stage="internal"))
    company.run_day()

    assert company.outcomes() == {"t": ("skipped", "stage_unmapped")}


def test_tolerances_are_the_pipelines(company: Company) -> None:
    """How far in the future and how near to Meta's limit an event may be is up to the pipeline's file."""
    company.configure(quality={"future_tolerance_seconds": 600}, delivery={"expiry_margin_minutes": 600})
    company.record(
        company.transition(transition_id="ahead", event_time=company.now + timedelta(seconds=590)),
        company.transition(transition_id="old", event_time=company.now - timedelta(days=6, hours=15)),
    )
    company.run_day(company.facts(end=company.now + timedelta(hours=1)))
    # The stand-in takes a minute; what is sent and refused there was let through here.
    outcomes = company.outcomes()

    assert outcomes["ahead"] == ("rejected", "meta_2804004")
    assert outcomes["old"] == ("expired", "event_too_old")


@pytest.mark.thorough
def test_no_failing_row_is_lost_in_a_long_list(company: Company) -> None:
    """5,000 failing rows are all held back, though Great Expectations lists 20."""
    company.configure(quality={"max_quarantined_share": 1}, delivery={"chunk_size": 1000})
    company.record_sound(10)
    company.warehouse.execute(
        """
        INSERT INTO crm.lead_stage_transitions (transition_id, lead_id, stage, event_time)
        SELECT 'bad-' || number, '12', CASE WHEN number %% 2 = 0 THEN 'new' END, %s
        FROM generate_series(1, %s) AS number
        """,
        [company.midnight - timedelta(hours=2), MANY],
    )
    day = company.run_day()
    reasons = company.select("SELECT reason, count(*) AS rows FROM capi.delivery WHERE reason IS NOT NULL GROUP BY 1")

    assert day.errors == []
    assert {row["reason"]: row["rows"] for row in reasons} == {"stage_missing": 2500, "lead_id_invalid": 2500}
    assert company.statuses() == {"delivered": 10, "quarantined": MANY}


@pytest.mark.thorough
def test_great_expectations_is_imported_in_silence() -> None:
    """Not one of the lines that its import logs reaches a task's log, and it does not call home."""
    code = "import logging; logging.basicConfig(level='DEBUG'); import crm_to_meta.validate.step, great_expectations"
    environment = {**os.environ, "PYTHONPATH": str(PIPELINES_FOLDER.parent)}
    told = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, env=environment)  # noqa: PLW1510 - the assert says it

    assert (told.returncode, told.stdout) == (0, "")
    assert "great_expectations" not in told.stderr
    assert os.environ["GX_ANALYTICS_ENABLED"] == "false"


def test_great_expectations_works_in_silence(
    company: Company, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither log lines nor progress bars of Great Expectations reach a task's log."""
    caplog.set_level(logging.DEBUG)
    company.record_sound(3)
    run_key = company.extract().run_key
    company.validate(run_key)

    assert [record for record in caplog.records if record.name.startswith("great_expectations")] == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.thorough
def test_data_docs_can_be_switched_on(company: Company, tmp_path: Path) -> None:
    """A folder gets a site with a page for each run, and an index that leads to all of them."""
    company.configure(quality={"data_docs": str(tmp_path / "new" / "folder")})
    company.record_sound(3)
    run_keys = [company.run_day().run_key, company.run_day().run_key]
    site = tmp_path / "new" / "folder" / company.pipeline.name / "gx" / "uncommitted" / "data_docs" / "local_site"
    index = (site / "index.html").read_text(encoding="utf-8")

    assert all(run_key in index for run_key in run_keys)
    assert len(list(site.glob("validations/**/*.html"))) == len(run_keys)


def test_data_docs_hold_nothing_up(company: Company, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where the folder cannot be written the run goes on, and the log says why there is no page."""
    (tmp_path / "file").touch()
    company.configure(quality={"data_docs": str(tmp_path / "file")})
    company.record_sound(3)
    day = company.run_day()

    assert day.errors == []
    assert company.statuses() == {"delivered": 3}
    assert f"validate {day.run_key}: no Data Docs in {tmp_path}/file" in caplog.text


def test_empty_batch_passes(company: Company) -> None:
    """A day without a single transition is a day without a fault."""
    company.record()
    day = company.run_day()

    assert (day.errors, day.shards) == ([], [])
    assert company.run_row(day.run_key)["quality_verdict"] == "passed"
    assert company.run_row(day.run_key)["state"] == "succeeded"


def test_batch_of_nothing_but_faults_has_no_shards(company: Company) -> None:
    """Where every row is held back there is nothing to transform and to load, and the run succeeds."""
    company.record(*(company.transition(stage=None) for _ in range(3)))
    day = company.run_day()

    assert (day.errors, day.shards) == ([], [])
    assert company.statuses() == {"quarantined": 3}


@pytest.mark.parametrize("mode", [Mode.LIVE, Mode.PREVIEW])
def test_refused_batch_sends_nothing_and_keeps_everything_pending(company: Company, mode: Mode) -> None:
    """More bad rows than the pipeline allows stop the run before anything is sent; its result is on record."""
    company.record(*(company.transition(stage=None if number < 11 else "new") for number in range(20)))
    day = company.run_day(company.facts(mode=mode))
    quality = company.select("SELECT * FROM capi.quality ORDER BY position")
    share = quality[-1]

    assert day.error_types[0] is BatchRefusedError
    assert "at most 50% of the rows are quarantined; here: 55.0%: 11 of 20 rows" in str(day.errors[0])
    assert company.received() == []
    assert company.statuses() == ({"pending": 20} if mode is Mode.LIVE else {})
    assert company.run_row(day.run_key)["quality_verdict"] == "failed"
    assert (share["severity"], share["checked"], share["failed"], share["success"]) == ("critical", 20, 11, False)


def test_refused_batch_goes_out_once_the_source_is_fixed(company: Company) -> None:
    """After the CRM's export is repaired the next run takes all rows that the refused one left pending."""
    ids = company.record(*(company.transition(stage=None) for _ in range(20)))
    refused = company.run_day()
    company.warehouse.execute("UPDATE crm.lead_stage_transitions SET stage = 'new'")
    fixed = company.run_day()

    assert refused.error_types == [BatchRefusedError, DeliveryIncompleteError]
    assert fixed.errors == []
    assert sorted(company.received_ids()) == sorted(ids)


def test_few_rows_are_not_judged_as_a_batch(company: Company) -> None:
    """Below `min_rows_to_judge` even a share of 100 % bad rows stops nothing."""
    company.record(*(company.transition(stage=None) for _ in range(18)), company.transition())
    day = company.run_day()

    assert day.errors == []
    assert company.statuses() == {"quarantined": 18, "delivered": 1}


def test_quality_figures_count_and_never_quote(company: Company) -> None:
    """capi.quality says how many rows broke which rule, and not what was in them."""
    company.record(
        company.transition(transition_id="secret-id", lead_id="4711-secret", email="secret@example.com"),
        company.transition(stage="secret stage"),
        company.transition(value=31337),
        company.transition(),
    )
    day = company.run_day()
    quality = company.select("SELECT * FROM capi.quality ORDER BY position")
    by_reason = {row["reason"]: (row["checked"], row["failed"], row["success"]) for row in quality}

    assert [row["reason"] for row in quality] == contract_of(company)
    assert {row["run_key"] for row in quality} == {day.run_key}
    assert by_reason["lead_id_invalid"] == (4, 1, False)
    assert by_reason["stage_unmapped"] == (4, 1, False)
    assert by_reason["value_without_currency"] == (1, 1, False)
    assert by_reason["opted_out"] == (4, 0, True)
    assert not [word for word in ("secret", "4711", "31337", "example.com") if word in repr(quality)]


def test_validation_can_be_repeated(company: Company) -> None:
    """A second try of the task finds the same, and writes nothing down twice."""
    company.record_sound(2)
    company.record(company.transition(stage=None))
    run_key = company.extract().run_key
    first, second = company.validate(run_key), company.validate(run_key)

    assert first == second
    assert len(company.select("SELECT * FROM capi.quality")) == len(contract_of(company))
    assert len(company.select("SELECT * FROM capi.quality_result")) == 1


def truncate(company: Company, run_key: str) -> None:
    """Empty the staging table, as PostgreSQL does with unlogged tables after a crash."""
    company.warehouse.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier("capi", staging_table_of(run_key))))


def close_run(company: Company, run_key: str) -> None:
    """Let audit drop the staging table."""
    with pytest.raises(DeliveryIncompleteError):
        company.audit(run_key)


@pytest.mark.parametrize("lose", [truncate, close_run], ids=["crash", "closed run"])
def test_lost_staging_is_told(company: Company, lose: Callable[[Company, str], None]) -> None:
    """Staged rows that are gone are told, with the remedy: nothing is validated as if there had been no rows."""
    company.record_sound(3)
    run_key = company.extract().run_key
    lose(company, run_key)

    with pytest.raises(StagingLostError, match="clear the task `extract`"):
        company.validate(run_key)

    assert company.statuses() == {"pending": 3}


def drop_staging(company: Company, run_key: str) -> None:
    """Do what another run does that takes the rows over."""
    with company.connect() as other:
        other.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier("capi", staging_table_of(run_key))))


def lose_warehouse(company: Company, run_key: str) -> None:
    """Let the server drop the connection of the step, and the staged rows with it."""
    with company.connect() as other:
        other.execute("SELECT pg_terminate_backend(%s)", [company.warehouse.info.backend_pid])
    drop_staging(company, run_key)


@pytest.mark.parametrize(
    ("lose", "error"),
    [(drop_staging, StagingLostError), (lose_warehouse, WarehouseError)],
    ids=["rows taken over", "warehouse gone"],
)
def test_rows_lost_under_great_expectations_are_told(
    company: Company, monkeypatch: pytest.MonkeyPatch, lose: Callable[[Company, str], None], error: type[Exception]
) -> None:
    """What goes away while Great Expectations looks at it is no mistake of a rule: the run can go on, or be cleared."""
    company.record_sound(3)
    run_key = company.extract().run_key

    def check_what_is_lost(*arguments: Any, **named: Any) -> Answers:
        lose(company, run_key)
        return check_table(*arguments, **named)

    monkeypatch.setattr("crm_to_meta.validate.step.check_table", check_what_is_lost)
    with pytest.raises(error):
        company.validate(run_key)


@pytest.mark.thorough
def test_lock_under_great_expectations_is_no_fault_of_a_rule(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """What PostgreSQL refuses for now while a rule is evaluated is tried again, as in any other step."""
    company.record_sound(3)
    run_key = company.extract().run_key
    database = sql.Identifier(company.warehouse.info.dbname)
    company.warehouse.execute(sql.SQL("ALTER DATABASE {} SET lock_timeout = 100").format(database))
    count_failures = gx_pushdown._count_failures

    def count_under_a_lock(*arguments: Any) -> Any:
        with company.connect() as other, other.transaction():
            other.execute(sql.SQL("LOCK TABLE {}").format(sql.Identifier("capi", staging_table_of(run_key))))
            return count_failures(*arguments)

    monkeypatch.setattr(gx_pushdown, "_count_failures", count_under_a_lock)
    with pytest.raises(WarehouseError, match="holds a lock for too long") as raised:
        company.validate(run_key)

    assert raised.value.sqlstate == "55P03"


def test_failure_of_great_expectations_itself_is_not_tried_again(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the warehouse refused nothing, the next try would fail in the same way."""
    company.record_sound(3)
    run_key = company.extract().run_key

    def fail(*arguments: Any) -> None:
        raise KeyError("a metric that was not computed")

    monkeypatch.setattr(gx_pushdown, "_failing_rows", fail)
    with pytest.raises(
        ConfigurationError, match=r"failed on capi\.staging_\w+ \(KeyError\), and the warehouse refused"
    ):
        company.validate(run_key)


def test_rows_of_a_crashed_staging_are_taken_by_the_next_run(company: Company) -> None:
    """After a crash nothing is lost: the rows are pending, and the next run stages them anew."""
    ids = company.record_sound(3)
    run_key = company.extract().run_key
    truncate(company, run_key)
    close_run(company, run_key)
    day = company.run_day()

    assert day.errors == []
    assert sorted(company.received_ids()) == sorted(ids)
