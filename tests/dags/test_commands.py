"""`make plan`, `make doubts` and `make erase`, as a person starts them, and the DAG that erases."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from commands.doubts import show_or_settle
from commands.erase import erase
from commands.plan import plan
from commands.session import Session
from crm_to_meta.erasure import request_erasure
from crm_to_meta.errors import ConfigurationError
from demo.airflow_process import airflow_environment
from demo.environment import PROJECT_FOLDER
from demo.sample_crm import build_transitions, fill_sample_crm, personal_values

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from crm_to_meta.pipeline import Pipeline
    from crm_to_meta.warehouse import Connection
    from demo.embedded_postgres import EmbeddedPostgres

pytestmark = [pytest.mark.airflow, pytest.mark.filterwarnings("ignore")]

TIMEOUT_S = 120
LEADS, SEED = 150, 7


@pytest.fixture
def run_command(
    postgres: EmbeddedPostgres, database: str, tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Start what a target of make starts, on the test's warehouse."""

    def run(command: str, **settings: str) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "META_"))}
        environment = {
            **inherited,
            "PYTHONPATH": airflow_environment({})["PYTHONPATH"],
            "PYTHONWARNINGS": "ignore",
            "CRM_TO_META_LOCAL": str(tmp_path),
            "AIRFLOW_CONN_WAREHOUSE": postgres.airflow_connection(database),
            **settings,
        }
        return subprocess.run(
            [sys.executable, "-m", f"commands.{command}"],
            env=environment,
            cwd=PROJECT_FOLDER,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    return run


@pytest.fixture
def session(warehouse: Connection, pipeline: Pipeline) -> Session:
    """A command's session within the test, which prints into a buffer."""
    return Session(console=Console(file=io.StringIO(), width=110), pipeline=pipeline, warehouse=warehouse)


def printed_by(
    command: Callable[[Session], None], session: Session, monkeypatch: pytest.MonkeyPatch, **settings: str
) -> str:
    """Return what a command prints under settings."""
    for name in ("FROM", "TO", "SETTLE", "RUN", "LEAD"):
        monkeypatch.setenv(name, settings.get(name, ""))
    with session.console.capture() as printed:
        command(session)
    return printed.get()


def count_by_status(warehouse: Connection) -> dict[str, int]:
    """Return the ledger's rows by status."""
    return dict(warehouse.execute("SELECT status, count(*) FROM capi.delivery GROUP BY 1").fetchall())


def cells_of(line: str) -> list[int]:
    """Return the numbers of a printed row."""
    return [0 if cell == "·" else int(cell.replace(",", "")) for cell in line.split()[1:]]


def test_that_a_plan_foretells_the_backfill(
    run_command: Callable[..., Any], run_dag: Callable[..., Any], warehouse: Connection
) -> None:
    """What `make plan` says of a day is what the run of that day then does; a day that is done is finished."""
    today = datetime.now(UTC).date()
    fill_sample_crm(warehouse, today, leads=LEADS, seed=SEED)
    days = [today - timedelta(days=number) for number in (5, 8)]
    before = run_command("plan", FROM=str(days[1]), TO=str(days[0]))
    rows = {line.split()[0]: cells_of(line) for line in before.stdout.splitlines() if line.startswith("  20")}
    assert before.returncode == 0, before.stdout + before.stderr
    assert warehouse.execute("SELECT count(*) FROM capi.delivery").fetchone() == (0,)
    assert [
        value for value in personal_values(build_transitions(today, leads=LEADS, seed=SEED)) if value in before.stdout
    ] == []
    assert len(rows) == 4

    for day in days:
        run_dag(date=str(day))
        total, finished, delivered, expired, skipped, quarantined = rows[str(day)]
        counted = count_by_status(warehouse)
        assert (finished, total) == (0, delivered + expired + skipped + quarantined)
        assert counted.get("delivered", 0) + counted.get("rejected", 0) == delivered
        assert (counted.get("expired", 0), counted.get("skipped", 0), counted.get("quarantined", 0)) == (
            expired,
            skipped,
            quarantined,
        )
        warehouse.execute("DELETE FROM capi.delivery")


@pytest.mark.parametrize("days", [{}, {"FROM": "yesterday"}, {"FROM": "2026-03-02", "TO": "2026-03-01"}])
def test_that_a_plan_of_no_days_says_how_to_ask(
    session: Session, monkeypatch: pytest.MonkeyPatch, days: dict[str, str]
) -> None:
    """Without days, or with days that are none, the command tells how it is used."""
    for name in ("FROM", "TO"):
        monkeypatch.setenv(name, days.get(name, ""))

    with pytest.raises(ConfigurationError, match="make plan FROM="):
        plan(session)


def test_that_doubts_are_listed_and_settled(
    run_command: Callable[..., Any],
    run_dag: Callable[..., Any],
    warehouse: Connection,
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A person sees what is in doubt, run by run, and settles it; a wrong word changes nothing."""
    today = datetime.now(UTC).date()
    fill_sample_crm(warehouse, today, leads=LEADS, seed=SEED)
    run_dag(date=str(today - timedelta(days=1)))
    delivered = count_by_status(warehouse)["delivered"]
    warehouse.execute(
        "UPDATE capi.delivery SET status = 'in_doubt', reason = 'outcome_unknown', doubts = 1, doubted_at = now() "
        "WHERE status = 'delivered'"
    )
    (run_key,) = warehouse.execute("SELECT DISTINCT run_key FROM capi.delivery").fetchall()[0]

    listed = run_command("doubts")
    refused = run_command("doubts", SETTLE="yes")
    nothing, settled, after = (
        printed_by(show_or_settle, session, monkeypatch, **settings)
        for settings in ({"SETTLE": "send", "RUN": "another"}, {"SETTLE": "arrived", "RUN": run_key}, {})
    )

    assert run_key in listed.stdout
    assert f"{delivered:,}" in listed.stdout
    assert (listed.returncode, refused.returncode) == (0, 2)
    assert "SETTLE must be one of arrived, send" in refused.stdout
    assert "Nothing is in doubt there" in nothing
    assert f"{delivered:,} events are on record as delivered" in settled
    assert "No event of conversion_leads is in doubt" in after
    assert count_by_status(warehouse)["delivered"] == delivered


def test_that_a_person_is_erased_by_command_and_by_dag(
    run_command: Callable[..., Any],
    run_dag: Callable[..., Any],
    warehouse: Connection,
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`make erase` and the DAG do the same: the lead is gone, and the counts of the run are as they were."""
    today = datetime.now(UTC).date()
    fill_sample_crm(warehouse, today, leads=LEADS, seed=SEED)
    run_dag(date=str(today - timedelta(days=1)))
    before = count_by_status(warehouse)
    first, second = (
        str(lead)
        for (lead,) in warehouse.execute(
            "SELECT lead_id FROM capi.delivery WHERE status = 'delivered' AND lead_id IS NOT NULL ORDER BY 1 LIMIT 2"
        )
    )

    by_command = run_command("erase", LEAD=first)
    request_erasure(warehouse, second)
    by_dag = run_dag_of_erasures(run_dag)

    assert by_command.returncode == 0, by_command.stdout + by_command.stderr
    assert "Request 1 is done" in by_command.stdout
    assert first not in by_command.stdout
    with pytest.raises(ConfigurationError, match="make erase LEAD="):
        printed_by(erase, session, monkeypatch)
    assert by_dag.state == "success"
    left = warehouse.execute("SELECT count(*) FROM capi.delivery WHERE lead_id::text IN (%s, %s)", [first, second])
    assert left.fetchone() == (0,)
    assert count_by_status(warehouse) == before
    assert warehouse.execute("SELECT count(*) FROM capi.erasure WHERE done_at IS NULL").fetchone() == (0,)


def test_that_an_erasure_waits_for_a_run_at_work(run_dag: Callable[..., Any], warehouse: Connection) -> None:
    """While a run may have the person in memory the DAG's task fails, to be tried again, and the request stays open."""
    today = datetime.now(UTC).date()
    fill_sample_crm(warehouse, today, leads=LEADS, seed=SEED)
    run_dag(date=str(today - timedelta(days=1)))
    warehouse.execute("UPDATE capi.run SET state = 'running', lease_until = now() + interval '1 hour'")
    request_erasure(warehouse, "123456789012345")

    dag_run = run_dag_of_erasures(run_dag)

    assert dag_run.state != "success"
    assert warehouse.execute("SELECT count(*) FROM capi.erasure WHERE done_at IS NULL").fetchone() == (1,)


def run_dag_of_erasures(run_dag: Callable[..., Any]) -> Any:
    """Run the DAG that erases."""
    return run_dag("crm_to_meta_erase")
