"""The command line, as a person starts it in production and with make, and the DAG that erases."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from crm_to_meta.ledger.erasure import request_erasure
from crm_to_meta_demo.airflow_process import airflow_environment
from crm_to_meta_demo.environment import PROJECT_FOLDER, meta_connection_json
from crm_to_meta_demo.sample_crm import build_transitions, fill_sample_crm, personal_values

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from crm_to_meta.warehouse import Connection
    from crm_to_meta_demo.embedded_postgres import EmbeddedPostgres

pytestmark = [pytest.mark.thorough, pytest.mark.airflow, pytest.mark.filterwarnings("ignore")]

TIMEOUT_S = 120
LEADS, SEED = 150, 7


@pytest.fixture
def run_command(
    postgres: EmbeddedPostgres, database: str, tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Start `python -m crm_to_meta_cli` with arguments, on the test's warehouse, outside of the project's folder."""

    def run(*arguments: str, given: str = "", module: str = "crm_to_meta_cli", **settings: str) -> Any:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "META_"))}
        environment = {
            **inherited,
            "PYTHONPATH": airflow_environment({})["PYTHONPATH"],
            "PYTHONWARNINGS": "ignore",
            "CRM_TO_META_LOCAL": str(tmp_path),
            "AIRFLOW_HOME": str(tmp_path / "airflow"),
            "AIRFLOW_CONN_WAREHOUSE": postgres.airflow_connection(database),
            "AIRFLOW_CONN_META_CAPI": meta_connection_json({}, token="t"),
            **settings,
        }
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            env={name: value for name, value in environment.items() if value},
            cwd=tmp_path,
            input=given,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    return run


def count_by_status(warehouse: Connection) -> dict[str, int]:
    """Return the ledger's rows by status."""
    return dict(warehouse.execute("SELECT status, count(*) FROM capi.delivery GROUP BY 1").fetchall())


def cells_of(line: str) -> list[int]:
    """Return the numbers of a printed row."""
    return [0 if cell == "·" else int(cell.replace(",", "")) for cell in line.split()[1:]]


def test_that_a_plan_foretells_the_backfill(
    run_command: Callable[..., Any], run_dag: Callable[..., Any], warehouse: Connection
) -> None:
    """What `plan` says of a day is what the run of that day then does."""
    today = datetime.now(UTC).date()
    fill_sample_crm(warehouse, today, leads=LEADS, seed=SEED)
    days = [today - timedelta(days=number) for number in (5, 8)]
    before = run_command("plan", "--from", str(days[1]), "--to", str(days[0]))
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


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["plan"], "Say which days"),
        (["plan", "--from", "yesterday"], "--from"),
        (["plan", "--from", "2026-03-02", "--to", "2026-03-01"], "Say which days"),
        (["doubts", "--settle", "yes"], "arrived"),
        (["doubts", "--run", "20260301-00000000-1"], "--settle arrived --run KEY"),
        (["erase"], "Say whom to forget"),
        ([], "COMMAND"),
    ],
    ids=" ".join,
)
def test_that_wrong_usage_says_how_to_ask(
    run_command: Callable[..., Any], warehouse: Connection, arguments: list[str], sentence: str
) -> None:
    """Wrong options end with 2 and a sentence, and touch nothing."""
    done = run_command(*arguments)

    assert done.returncode == 2
    assert sentence in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert warehouse.execute("SELECT to_regclass('capi.run')").fetchone() == (None,)


def test_that_doubts_need_no_schema(run_command: Callable[..., Any], warehouse: Connection) -> None:
    """In a warehouse in which nothing has run yet, doubts say so and make no schema; a run that is named is missed."""
    listed = run_command("doubts")
    settled = run_command("doubts", "--settle", "arrived")
    named = run_command("doubts", "--settle", "arrived", "--run", "20260301-00000000-1")

    assert (listed.returncode, settled.returncode, named.returncode) == (0, 0, 1)
    sentence = "No run has been made in the warehouse of connection `warehouse` yet: it has no ledger (schema capi)."
    assert all(done.stdout.startswith(sentence) for done in (listed, settled, named))
    assert warehouse.execute("SELECT to_regclass('capi.run')").fetchone() == (None,)


def test_that_doubts_are_listed_and_settled(
    run_command: Callable[..., Any], run_dag: Callable[..., Any], warehouse: Connection
) -> None:
    """A person sees what is in doubt, run by run, and settles it; make does the same."""
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
    nothing = run_command("doubts", "--settle", "send", "--run", "another")
    settled = run_command(
        "doubts", module="crm_to_meta_demo.command_line", SETTLE="arrived", RUN=run_key
    )  # make doubts SETTLE=arrived RUN=...
    after = run_command("doubts")

    assert run_key in listed.stdout
    assert f"{delivered:,}" in listed.stdout
    assert "python -m crm_to_meta_cli doubts --settle arrived --run KEY" in listed.stdout
    assert (nothing.returncode, settled.returncode) == (1, 0), settled.stdout + settled.stderr
    assert "Nothing was changed" in nothing.stdout
    assert f"{delivered:,} events are on record as delivered" in settled.stdout
    assert "No event of conversion_leads is in doubt" in after.stdout
    assert count_by_status(warehouse)["delivered"] == delivered


def test_that_a_preview_shows_exact_events(run_command: Callable[..., Any], warehouse: Connection) -> None:
    """Counts and events of what a live run would send, without a token and without a ledger; no raw value is shown."""
    today = datetime.now(UTC).date()
    fill_sample_crm(warehouse, today, leads=LEADS, seed=SEED)
    done = run_command(
        "preview", AIRFLOW_CONN_META_CAPI=meta_connection_json({}, token=""), AIRFLOW_CONN_OTHER="postgres://x"
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "A live run of conversion_leads for" in done.stdout
    assert "curl " in done.stdout
    assert warehouse.execute("SELECT mode, state FROM capi.run").fetchall() == [("preview", "succeeded")]
    assert warehouse.execute("SELECT count(*) FROM capi.delivery").fetchone() == (0,)
    assert [
        value for value in personal_values(build_transitions(today, leads=LEADS, seed=SEED)) if value in done.stdout
    ] == []


def test_that_a_check_tells_what_works(run_command: Callable[..., Any], warehouse: Connection) -> None:
    """A line for each part; the exit code is 1 where one fails."""
    fill_sample_crm(warehouse, datetime.now(UTC).date(), leads=LEADS, seed=SEED)
    unreachable = meta_connection_json({}, token="t", base_url="http://127.0.0.1:9")
    done = run_command("check", AIRFLOW_CONN_META_CAPI=unreachable)

    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"ok +source table", done.stdout)
    assert re.search(r"FAILED +Meta", done.stdout)


def test_that_a_connection_is_found_in_the_metadata_database(
    run_command: Callable[..., Any], postgres: EmbeddedPostgres, database: str, tmp_path: Path
) -> None:
    """Commands look where the DAG looks: connections that somebody added under Admin > Connections are found."""
    home = {"AIRFLOW_HOME": str(tmp_path / "airflow"), "AIRFLOW_CONN_WAREHOUSE": ""}
    airflow = run_command("db", "migrate", module="airflow", **home)
    added = run_command(
        "connections",
        "add",
        "warehouse",
        "--conn-json",
        postgres.airflow_connection(database),
        module="airflow",
        **home,
    )
    found = run_command("doubts", **home)

    assert (airflow.returncode, added.returncode) == (0, 0), airflow.stderr + added.stdout + added.stderr
    assert found.returncode == 0, found.stdout + found.stderr
    assert "no event of conversion_leads is in doubt" in found.stdout


def test_that_a_connection_is_found_in_a_secrets_backend(
    run_command: Callable[..., Any], postgres: EmbeddedPostgres, database: str, tmp_path: Path
) -> None:
    """So are connections of a secrets backend, here a file."""
    secrets = tmp_path / "secrets.json"
    secrets.write_text(json.dumps({"warehouse": json.loads(postgres.airflow_connection(database))}))
    backend = "airflow.secrets.local_filesystem.LocalFilesystemBackend"
    found = run_command(
        "doubts",
        AIRFLOW_CONN_WAREHOUSE="",
        AIRFLOW__SECRETS__BACKEND=backend,
        AIRFLOW__SECRETS__BACKEND_KWARGS=json.dumps({"connections_file_path": str(secrets)}),
    )

    assert found.returncode == 0, found.stdout + found.stderr
    assert "no event of conversion_leads is in doubt" in found.stdout


def test_that_a_missing_connection_says_where_to_put_it(run_command: Callable[..., Any]) -> None:
    """One sentence, no traceback."""
    done = run_command("doubts", AIRFLOW_CONN_WAREHOUSE="")

    assert done.returncode == 1
    assert "Airflow does not find the connection `warehouse`: its metadata database" in done.stderr
    assert "AIRFLOW_CONN_WAREHOUSE" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [("plan", "--from", "2026-03-01"), ("doubts",)], ids=["plan", "doubts"])
def test_that_commands_start_in_the_image(
    run_command: Callable[..., Any], warehouse: Connection, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """With what the Dockerfile copies, and nothing else on the path: the demo is not there."""
    fill_sample_crm(warehouse, datetime.now(UTC).date(), leads=10, seed=SEED)
    image = copy_as_docker_does(tmp_path / "image")
    done = run_command(*arguments, PYTHONPATH=f"{image / 'include'}:{image / 'plugins'}")

    assert not (image / "include/crm_to_meta_demo").exists()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "conversion_leads" in done.stdout


def copy_as_docker_does(image: Path) -> Path:
    """Copy the folders that the Dockerfile copies, without what .dockerignore leaves out."""
    dockerfile = (PROJECT_FOLDER / "Dockerfile").read_text()
    ignored = [line for line in (PROJECT_FOLDER / ".dockerignore").read_text().splitlines() if "/" in line]
    for source, target in re.findall(r"^COPY \S+ (\w+) /opt/airflow/(\w+)$", dockerfile, re.MULTILINE):
        shutil.copytree(PROJECT_FOLDER / source, image / target, ignore=shutil.ignore_patterns("__pycache__"))
    for pattern in ignored:
        if not pattern.startswith("**"):
            shutil.rmtree(image / pattern)
    return image


def test_that_a_person_is_erased_by_command_and_by_dag(
    run_command: Callable[..., Any], run_dag: Callable[..., Any], warehouse: Connection
) -> None:
    """`erase` and the DAG do the same: the lead is gone, and the counts of the run are as they were."""
    today = datetime.now(UTC).date()
    fill_sample_crm(warehouse, today, leads=LEADS, seed=SEED)
    run_dag(date=str(today - timedelta(days=1)))
    before = count_by_status(warehouse)
    first, second, third = (
        str(lead)
        for (lead,) in warehouse.execute(
            "SELECT lead_id FROM capi.delivery WHERE status = 'delivered' AND lead_id IS NOT NULL ORDER BY 1 LIMIT 3"
        )
    )

    by_option = run_command("erase", "--lead", first)
    by_pipe = run_command("erase", given=f"{third}\n")
    request_erasure(warehouse, second)
    by_dag = run_dag_of_erasures(run_dag)

    assert (by_option.returncode, by_pipe.returncode) == (0, 0), by_option.stderr + by_pipe.stderr
    assert "request 1 is done" in by_option.stdout
    assert first not in by_option.stdout
    assert third not in by_pipe.stdout
    assert by_dag.state == "success"
    left = warehouse.execute(
        "SELECT count(*) FROM capi.delivery WHERE lead_id::text IN (%s, %s, %s)", [first, second, third]
    )
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
