"""`make run`, as a person starts it: a process, an environment, an exit code, what it prints and what it does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

import pytest
from leaks import find_leaks

from crm_to_meta.errors import ConfigurationError, PipelineFileError
from crm_to_meta.extract.step import extract
from crm_to_meta.models import DagRunFacts, Mode, Window
from crm_to_meta_demo.airflow_process import airflow_environment
from crm_to_meta_demo.environment import PROJECT_FOLDER, meta_connection_json, read_options
from crm_to_meta_demo.run import find_first_error
from crm_to_meta_demo.sample_crm import build_transitions, deleted_lead_ids, fill_sample_crm, personal_values

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from crm_to_meta.warehouse import Connection
    from crm_to_meta_demo.embedded_postgres import EmbeddedPostgres
    from crm_to_meta_demo.meta_stand_in.testing import StandIn

pytestmark = [pytest.mark.thorough, pytest.mark.airflow]

TIMEOUT_S = 240


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make run` keeps in .local, for all tests of this module: Airflow's database is made once."""
    return tmp_path_factory.mktemp("local")


@pytest.fixture
def no_env_file(tmp_path: Path) -> Path:
    """The path of an .env file that is not there."""
    return tmp_path / "no.env"


@pytest.fixture
def own_parts(postgres: EmbeddedPostgres, database: str, stand_in: StandIn) -> dict[str, str]:
    """Connections to a warehouse and an endpoint that are not the embedded ones."""
    return {
        "AIRFLOW_CONN_WAREHOUSE": postgres.airflow_connection(database),
        "AIRFLOW_CONN_META_CAPI": meta_connection_json({}, token=stand_in.token, base_url=stand_in.base_url),
    }


def run_make_run(
    local: Path, settings: Mapping[str, str], *, command: str = "crm_to_meta_demo.run"
) -> subprocess.CompletedProcess[str]:
    """Start what `make run`, or another command, starts, with a home and a local folder of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "META_"))}
    environment = {
        **inherited,
        "PYTHONPATH": airflow_environment({})["PYTHONPATH"],
        "CRM_TO_META_LOCAL": str(local),
        **settings,
    }
    arguments = [sys.executable, "-m", *command.split()]
    return subprocess.run(
        arguments, env=environment, cwd=PROJECT_FOLDER, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def test_that_it_works_on_another_warehouse_and_endpoint(
    local: Path, own_parts: dict[str, str], warehouse: Connection, stand_in: StandIn
) -> None:
    """With own connections and DATE the same command sends that day of that warehouse, once, and no sample data."""
    today = datetime.now(UTC).date()
    yesterday = today - timedelta(days=1)
    rows = build_transitions(today, leads=200, seed=11)
    fill_sample_crm(warehouse, today, leads=200, seed=11)
    stand_in.set_settings(deleted_lead_ids=deleted_lead_ids(rows))
    in_source = warehouse.execute("SELECT count(*) FROM crm.lead_stage_transitions").fetchone()

    first = run_make_run(local, {**own_parts, "DATE": yesterday.isoformat()})
    received = [event["event"]["event_id"] for event in stand_in.events()]
    second = run_make_run(local, {**own_parts, "DATE": yesterday.isoformat()})

    assert first.returncode == 0, first.stdout + first.stderr
    assert second.returncode == 0, second.stdout + second.stderr
    assert "Nothing to do" in second.stdout
    assert len(received) == len(set(received)) == len(stand_in.events()) > 10
    assert {datetime.fromtimestamp(event["event"]["event_time"], UTC).date() for event in stand_in.events()} == {
        yesterday
    }
    assert warehouse.execute("SELECT count(*) FROM crm.lead_stage_transitions").fetchone() == in_source
    assert not (local / "postgres").exists()
    written = "".join(path.read_text(errors="replace") for path in local.rglob("*") if path.is_file())
    shown = first.stdout + first.stderr + second.stdout + second.stderr
    lead_ids = {row.lead_id for row in rows}
    assert find_leaks(written + shown, [*personal_values(rows), stand_in.token], lead_ids=lead_ids) == []


def test_that_events_held_by_another_run_are_no_success(
    local: Path, own_parts: dict[str, str], warehouse: Connection, stand_in: StandIn
) -> None:
    """Events of the window that a run holds whose worker died: how many, where, until when, and an exit code of 1."""
    today = datetime.now(UTC).date()
    fill_sample_crm(warehouse, today, leads=50, seed=11)
    window = Window(
        start=datetime.combine(today - timedelta(days=1), time.min, UTC),
        end=datetime.combine(today, time.min, UTC),
        is_sweep=False,
    )
    facts = DagRunFacts(dag_run_id="another", run_type="scheduled", mode=Mode.LIVE, window=window)
    another = extract(warehouse, read_options({}).pipeline, facts)

    result = run_make_run(local, {**own_parts, "DATE": window.start.date().isoformat()})

    assert result.returncode == 1, result.stdout + result.stderr
    sentence = f"{another.staged} stage changes of this window are held by run {another.run_key} until"
    assert result.stdout.count(sentence) == 1  # it is in audit's error, so the summary leaves it to that
    assert "Nothing to do" not in result.stdout
    assert stand_in.stats()["requests"] == 0


def test_that_a_missing_column_is_one_sentence(
    local: Path, own_parts: dict[str, str], warehouse: Connection, stand_in: StandIn
) -> None:
    """A source without a required column: file, key and remedy, before anything is sent."""
    warehouse.execute("CREATE SCHEMA crm")
    warehouse.execute("CREATE TABLE crm.lead_stage_transitions (transition_id text, stage text)")

    result = run_make_run(local, own_parts)

    assert result.returncode == 1
    assert "conversion_leads.yaml" in result.stdout
    assert "source.columns.event_time" in result.stdout
    assert "DeliveryIncompleteError" not in result.stdout  # which is audit's, and not the cause
    assert "Traceback" not in result.stdout + result.stderr
    assert stand_in.stats()["requests"] == 0


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"DATE": "yesterday"}, "ConfigurationError: DATE: Parameter `date` is not a calendar date; write it as YYYY-"),
        ({"DATE": "20260301"}, "ConfigurationError: DATE: Parameter `date` is not a calendar date; write it as YYYY-"),
        ({"DATE": "2999-01-01"}, "ConfigurationError: DATE: 2999-01-01 has not ended yet in UTC"),
        ({"MODE": "test", "TEST_EVENT_CODE": "not this"}, "ConfigurationError: TEST_EVENT_CODE has letters, digits"),
    ],
    ids=["no date", "another spelling", "to come", "no test code"],
)
def test_that_a_wrong_parameter_is_one_sentence(
    local: Path, own_parts: dict[str, str], stand_in: StandIn, settings: dict[str, str], told: str
) -> None:
    """What the DAG would refuse is refused before Airflow starts, with the variable's name."""
    result = run_make_run(local, {**own_parts, **settings})

    assert result.returncode == 2
    assert told in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
    assert stand_in.stats()["requests"] == 0


LOG = """
Task failed with exception     [task] loc=task_runner.py:1676
Traceback (most recent call last):
crm_to_meta.errors.WarehouseError: what came first
During handling of the above exception, another exception occurred:
crm_to_meta.errors.CredentialsError: the cause,
which is told on two lines
end task task_id=load
Task failed with exception     [task] loc=task_runner.py:1676
crm_to_meta.errors.DeliveryIncompleteError: what came of it
"""


@pytest.mark.parametrize(
    ("log", "sentence"),
    [
        (LOG, "CredentialsError: the cause, which is told on two lines"),
        (LOG.replace("crm_to_meta.errors.C", "builtins.C").replace("crm_to_meta.errors.W", "builtins.W"), None),
        ("", None),
    ],
    ids=["first task", "an error of another's", "no task"],
)
def test_that_the_first_failed_task_is_quoted(log: str, sentence: str | None) -> None:
    """Audit fails whenever another task has, so the cause is what the first failed task ended with."""
    assert find_first_error(log) == sentence


def test_that_an_unreachable_warehouse_is_one_sentence(
    local: Path, own_parts: dict[str, str], stand_in: StandIn
) -> None:
    """A warehouse that is not there is told in a sentence, without its password."""
    nowhere = json.dumps({"conn_type": "postgres", "host": "127.0.0.1", "port": 9, "password": "pw-not-shown"})

    result = run_make_run(local, {**own_parts, "AIRFLOW_CONN_WAREHOUSE": nowhere})

    assert result.returncode == 2
    assert "nothing listens there" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
    assert "pw-not-shown" not in result.stdout + result.stderr
    assert stand_in.stats()["requests"] == 0


def test_that_the_check_tells_what_works_and_what_does_not(
    local: Path, own_parts: dict[str, str], warehouse: Connection, stand_in: StandIn
) -> None:
    """`make check`: a line for each part, an exit code for scripts, no traceback, no secret, and nothing is sent."""
    fill_sample_crm(warehouse, datetime.now(UTC).date(), leads=5, seed=3)
    wrong = {**own_parts, "AIRFLOW_CONN_META_CAPI": meta_connection_json({}, token="bad", base_url=stand_in.base_url)}
    nowhere = json.dumps({"conn_type": "postgres", "host": "127.0.0.1", "port": 9, "password": "pw-not-shown"})

    good = run_make_run(local, own_parts, command="crm_to_meta_demo.command_line check")
    bad = run_make_run(
        local, {**wrong, "AIRFLOW_CONN_WAREHOUSE": nowhere}, command="crm_to_meta_demo.command_line check"
    )
    lines = [line.split(maxsplit=1)[0] for line in good.stdout.splitlines() if line.startswith("  ")]

    assert (good.returncode, lines) == (0, ["ok"] * 5)
    assert "Everything works." in good.stdout
    assert bad.returncode == 1
    assert "FAILED  warehouse" in bad.stdout
    assert "FAILED  Meta" in bad.stdout
    assert "auth_190: Meta refuses the access token" in bad.stdout
    assert "2 of 3 checks failed." in bad.stdout
    assert "Traceback" not in good.stdout + good.stderr + bad.stdout + bad.stderr
    assert "pw-not-shown" not in bad.stdout + bad.stderr
    assert stand_in.token not in good.stdout + good.stderr
    assert stand_in.events() == []
    assert warehouse.execute("SELECT to_regclass('capi.run')").fetchone() == (None,)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"META_ACCESS_TOKEN": "t"}, "never sent to Meta"),
        ({"AIRFLOW_CONN_META_CAPI": "{}"}, "never sent to Meta"),
        ({"AIRFLOW_CONN_WAREHOUSE": "{}"}, "make preview"),
        ({"MODE": "dry"}, "MODE must be one of"),
        ({"MODE": "test"}, "TEST_EVENT_CODE"),
        ({"TEST_EVENT_CODE": "T1"}, "MODE=test"),
    ],
    ids=["token alone", "Meta alone", "warehouse alone", "no such mode", "test without code", "code without test"],
)
def test_that_settings_that_do_not_fit_are_refused(no_env_file: Path, settings: dict[str, str], told: str) -> None:
    """Own parts come in pairs, and a test code goes with test mode."""
    with pytest.raises(ConfigurationError, match=told):
        read_options(settings, env_file=no_env_file)


def test_that_an_unknown_pipeline_names_the_known_ones(no_env_file: Path) -> None:
    """A misspelt PIPELINE is told with the names there are."""
    with pytest.raises(PipelineFileError, match="conversion_leads"):
        read_options({"PIPELINE": "conversions"}, env_file=no_env_file)


def test_that_the_shell_goes_before_the_env_file(tmp_path: Path) -> None:
    """A variable of the shell overrides the same one in .env; a token with special characters stays as it is."""
    env_file = tmp_path / ".env"
    env_file.write_text("MODE=preview\nMETA_ACCESS_TOKEN=a$b\nAIRFLOW_CONN_WAREHOUSE={}\nDATE=2026-01-01\n")

    options = read_options({"DATE": "2026-01-02"}, env_file=env_file)

    assert options.date == "2026-01-02"
    assert options.mode == "preview"
    assert '"a$b"' in (options.meta_connection() or "")


def test_that_the_example_holds_the_owners_values_and_no_token() -> None:
    """.env.example is ready to be filled in, and leaves `make run` on the embedded parts until it is."""
    options = read_options({}, env_file=PROJECT_FOLDER / ".env.example")

    assert options.is_embedded
    assert options.settings["META_DATASET_ID"] == "1261294122522559"
    assert options.settings["CRM_NAME"] == "Codex CRM"
    assert options.settings["META_API_VERSION"] == "v24.0"
    assert options.settings["META_ACCESS_TOKEN"] == ""
