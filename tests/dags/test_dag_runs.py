"""The DAG, run by Airflow itself, in each mode: what the warehouse says and what Meta received."""

from __future__ import annotations

import json
import sqlite3
import zlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from leaks import find_leaks

from crm_to_meta.ledger.schema import migrate
from crm_to_meta.models import event_id_of
from crm_to_meta_demo.sample_crm import build_transitions, deleted_lead_ids, fill_sample_crm, personal_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import AirflowHome

    from crm_to_meta.warehouse import Connection
    from crm_to_meta_demo.meta_stand_in.testing import StandIn

pytestmark = [pytest.mark.airflow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def sample(warehouse: Connection, stand_in: StandIn) -> list[Any]:
    """A small sample CRM in the test's warehouse; the stand-in knows which of its leads are deleted."""
    today = datetime.now(UTC).date()
    transitions = build_transitions(today, leads=300)
    fill_sample_crm(warehouse, today, leads=300)
    stand_in.set_settings(deleted_lead_ids=deleted_lead_ids(transitions))
    return transitions


def test_that_a_live_run_delivers_what_it_says(
    run_dag: Callable[..., Any], sample: list[Any], warehouse: Connection, stand_in: StandIn
) -> None:
    """The delivered rows of the ledger are exactly the events that Meta received, each once."""
    run = run_dag()

    delivered = {
        str(row[0]) for row in warehouse.execute("SELECT event_id FROM capi.delivery WHERE status = 'delivered'")
    }
    received = [event["event"]["event_id"] for event in stand_in.events()]
    assert run.state == "success"
    assert len(received) == len(set(received)) > 100
    assert set(received) == delivered


@pytest.mark.thorough
def test_that_every_extracted_row_is_in_one_status(
    run_dag: Callable[..., Any], sample: list[Any], warehouse: Connection
) -> None:
    """Conservation, as the run's own row has it."""
    run_dag()

    row = warehouse.execute(
        "SELECT state, extracted, delivered + rejected + quarantined + expired + skipped + in_doubt + pending "
        "FROM capi.run"
    ).fetchone()
    assert row is not None
    assert row[0] == "succeeded"
    assert row[1] == row[2] > 300


def test_that_a_second_run_delivers_nothing_twice(
    run_dag: Callable[..., Any], sample: list[Any], stand_in: StandIn
) -> None:
    """A run after a finished run has nothing to send."""
    run_dag()
    before = stand_in.stats()["requests"]

    second = run_dag()

    assert second.state == "success"
    assert stand_in.stats()["requests"] == before


@pytest.mark.thorough
def test_that_a_day_can_be_picked(
    run_dag: Callable[..., Any], sample: list[Any], warehouse: Connection, stand_in: StandIn
) -> None:
    """The parameter `date` takes exactly that day."""
    day = datetime.now(UTC).date() - timedelta(days=2)

    run_dag(date=day.isoformat())

    days = {datetime.fromtimestamp(event["event"]["event_time"], UTC).date() for event in stand_in.events()}
    assert days == {day}


def test_that_a_preview_sends_nothing_and_builds_the_same(
    run_dag: Callable[..., Any], sample: list[Any], warehouse: Connection, stand_in: StandIn
) -> None:
    """A preview's bodies are byte for byte those of the live run after it; it needs no request and no ledger."""
    day = (datetime.now(UTC).date() - timedelta(days=2)).isoformat()  # of which nothing grows too old in between
    preview = run_dag(mode="preview", date=day)
    previewed = _bodies(warehouse, "preview")
    ledger = warehouse.execute("SELECT count(*) FROM capi.delivery").fetchone()

    assert preview.state == "success"
    assert stand_in.stats()["requests"] == 0
    assert ledger == (0,)

    run_dag(date=day)

    assert previewed
    assert previewed == _bodies(warehouse, "live")


def test_that_a_test_run_sends_a_few_with_the_code(
    run_dag: Callable[..., Any], sample: list[Any], warehouse: Connection, stand_in: StandIn
) -> None:
    """A test run carries the test code, is capped, and leaves the ledger alone."""
    run = run_dag(mode="test", test_event_code="TEST123")

    assert run.state == "success"
    assert 0 < stand_in.stats()["events"] <= 50
    assert {event["test_event_code"] for event in stand_in.events()} == {"TEST123"}
    assert warehouse.execute("SELECT count(*) FROM capi.delivery").fetchone() == (0,)
    assert warehouse.execute("SELECT mode, state FROM capi.run").fetchone() == ("test", "succeeded")


def test_that_an_untouched_form_sends_nothing(
    run_dag: Callable[..., Any], sample: list[Any], warehouse: Connection, stand_in: StandIn
) -> None:
    """Who starts a run by hand and chooses nothing gets a preview."""
    run = run_dag(mode="planned")

    assert run.state == "success"
    assert stand_in.stats()["requests"] == 0
    assert warehouse.execute("SELECT mode, state FROM capi.run").fetchone() == ("preview", "succeeded")


@pytest.mark.thorough
def test_that_a_test_code_alone_means_a_test_run(
    run_dag: Callable[..., Any], sample: list[Any], warehouse: Connection, stand_in: StandIn
) -> None:
    """The code says all there is to say."""
    run = run_dag(mode="planned", test_event_code="TEST123")

    assert run.state == "success"
    assert {event["test_event_code"] for event in stand_in.events()} == {"TEST123"}
    assert warehouse.execute("SELECT mode FROM capi.run").fetchone() == ("test",)


@pytest.mark.thorough
def test_that_a_run_without_rows_is_audited(
    run_dag: Callable[..., Any], sample: list[Any], warehouse: Connection, stand_in: StandIn
) -> None:
    """Nothing to send is no reason to skip a task: each has ended well, and the run is closed."""
    day = datetime.now(UTC).date() - timedelta(days=300)

    run = run_dag(date=day.isoformat())

    assert run.state == "success"
    assert {instance.state for instance in run.get_task_instances()} == {"success"}
    assert warehouse.execute("SELECT state, extracted FROM capi.run").fetchone() == ("succeeded", 0)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "conf",
    [{"mode": "test"}, {"mode": "live", "test_event_code": "TEST123"}],
    ids=["test without code", "live with code"],
)
def test_that_a_test_code_goes_with_test_mode_alone(
    run_dag: Callable[..., Any], sample: list[Any], stand_in: StandIn, conf: dict[str, Any]
) -> None:
    """A code in the wrong mode is refused before anything is sent."""
    run = run_dag(**conf)

    assert run.state == "failed"
    assert stand_in.stats()["requests"] == 0


@pytest.mark.thorough
@pytest.mark.parametrize("is_green", [True, False], ids=["green run", "red run"])
def test_that_a_failing_retention_changes_nothing_about_the_run(
    run_dag: Callable[..., Any],
    sample: list[Any],
    warehouse: Connection,
    stand_in: StandIn,
    caplog: pytest.LogCaptureFixture,
    *,
    is_green: bool,
) -> None:
    """Where old records cannot be deleted the run ends as audit found it, raw rows are gone, and the log says so."""
    migrate(warehouse)
    _forbid_deleting_runs(warehouse)
    if not is_green:
        stand_in.set_faults([{"kind": "answer", "json": {"error": {"code": 1}}}])

    run = run_dag()
    staging = warehouse.execute("SELECT count(*) FROM pg_tables WHERE tablename ~ '^staging_'").fetchone()

    assert run.state == ("success" if is_green else "failed")
    assert warehouse.execute("SELECT state FROM capi.run WHERE run_key <> 'old'").fetchall() == [
        ("succeeded" if is_green else "failed",)
    ]
    assert staging == (0,)
    assert "ledger/retention_delete_run: RaiseException (SQLSTATE P0001)" in caplog.text


@pytest.mark.thorough
def test_that_the_audit_fails_only_for_what_it_found(
    run_dag: Callable[..., Any], warehouse: Connection, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where `extract` failed there is nothing to audit: the run is red, and `extract` is the one task that failed."""
    run = run_dag()
    states = {instance.task_id: instance.state for instance in run.get_task_instances()}

    assert run.state == "failed"
    assert states == {
        "extract": "failed",
        **dict.fromkeys(["validate", "transform", "load", "audit"], "upstream_failed"),
    }
    assert "DeliveryIncompleteError" not in "".join(capfd.readouterr())


@pytest.mark.thorough
def test_that_a_refused_batch_is_audited(
    run_dag: Callable[..., Any], sample: list[Any], warehouse: Connection, stand_in: StandIn
) -> None:
    """Where `validate` failed the audit counts what is pending, and the run is red."""
    warehouse.execute("UPDATE crm.lead_stage_transitions SET event_time = NULL")

    run = run_dag()
    states = {instance.task_id: instance.state for instance in run.get_task_instances()}

    assert run.state == "failed"
    assert (states["extract"], states["validate"], states["audit"]) == ("success", "failed", "failed")
    assert warehouse.execute("SELECT state FROM capi.run").fetchone() == ("failed",)
    assert stand_in.stats()["requests"] == 0


@pytest.mark.sweep(keep=1)
@pytest.mark.parametrize(
    ("conf", "told"),
    [
        ({"date": "2999-01-01"}, "2999-01-01 has not ended yet in UTC;\npick yesterday or an earlier day."),
        ({"mode": "test"}, "A test run needs a test event code;\ncopy it from Events Manager, Test events,"),
    ],
    ids=["day to come", "test without code"],
)
def test_that_the_first_task_refuses_what_does_not_go_together(
    run_dag: Callable[..., Any],
    sample: list[Any],
    stand_in: StandIn,
    capfd: pytest.CaptureFixture[str],
    conf: dict[str, Any],
    told: str,
) -> None:
    """What no form can check is one short message: what is wrong, and on the next line what to do."""
    run = run_dag(**conf)

    assert run.state == "failed"
    assert told in "".join(capfd.readouterr())
    assert stand_in.stats()["requests"] == 0


def _forbid_deleting_runs(warehouse: Connection) -> None:
    """Write down a run that is too old to keep, and let PostgreSQL refuse to delete it."""
    warehouse.execute(
        """
        INSERT INTO capi.run (run_key, pipeline, mode, dag_run_id, run_type, pass_no, window_start, window_end,
            is_sweep, configuration_digest, state, lease_until, finished_at)
        VALUES ('old', 'conversion_leads', 'live', 'old', 'scheduled', 1, '2020-01-01Z', '2020-01-02Z', true, '',
            'succeeded', '2020-01-02Z', '2020-01-02Z');
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$;
        CREATE TRIGGER refuse BEFORE DELETE ON capi.run FOR EACH ROW EXECUTE FUNCTION refuse()
        """
    )


def test_that_an_expired_token_costs_nothing_but_time(
    run_dag: Callable[..., Any], sample: list[Any], warehouse: Connection, stand_in: StandIn
) -> None:
    """The run is red, nothing is rejected; with the new token the next run delivers all of it once."""
    stand_in.set_settings(tokens=["another-token"], expired_tokens=[stand_in.token])
    failed = run_dag()
    statuses = {row[0] for row in warehouse.execute("SELECT DISTINCT status FROM capi.delivery")}

    assert failed.state == "failed"
    assert "rejected" not in statuses
    assert "delivered" not in statuses

    stand_in.set_settings(tokens=[stand_in.token], expired_tokens=[])
    good = run_dag()

    received = [event["event"]["event_id"] for event in stand_in.events()]
    delivered = warehouse.execute("SELECT count(*) FROM capi.delivery WHERE status = 'delivered'").fetchone()
    assert good.state == "success"
    assert delivered == (len(received),)
    assert len(set(received)) == len(received) > 100


def test_that_a_missing_connection_is_told_in_a_sentence(
    run_dag: Callable[..., Any],
    sample: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    stand_in: StandIn,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Without the Meta connection the run fails at once and says which connection to add."""
    monkeypatch.delenv("AIRFLOW_CONN_META_CAPI")

    run = run_dag()

    assert run.state == "failed"
    assert "There is no Airflow connection `meta_capi`;\nadd it" in "".join(capfd.readouterr())
    assert stand_in.stats()["requests"] == 0


def test_that_no_personal_value_and_no_token_leaves_its_place(
    run_dag: Callable[..., Any],
    airflow_home: AirflowHome,
    sample: list[Any],
    warehouse: Connection,
    stand_in: StandIn,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """After runs in every mode, and a failed one, logs, metadata database and schema capi hold no value of a person."""
    run_dag(mode="preview")
    run_dag(mode="test", test_event_code="TEST123")
    stand_in.set_faults([{"kind": "html", "status": 502, "when": {"nth": 1}}])
    run_dag()
    secrets = [*personal_values(sample), stand_in.token]
    places = {
        "output": "".join(capfd.readouterr()),
        **{
            str(path): path.read_text(errors="replace")
            for path in airflow_home.folder.rglob("*")
            if path.suffix == ".log"
        },
        **_dump_metadata(airflow_home.folder / "airflow.db"),
        **_dump_capi(warehouse),
    }

    lead_ids = {row.lead_id for row in sample}
    leaks = {place: find_leaks(text, secrets, lead_ids=lead_ids) for place, text in places.items()}

    assert len(secrets) > 500
    assert len(places["output"]) > 1000
    assert {place: found for place, found in leaks.items() if found} == {}


@pytest.mark.thorough
def test_that_event_ids_come_from_transition_ids(
    run_dag: Callable[..., Any], sample: list[Any], warehouse: Connection
) -> None:
    """What SQL computes is what Python computes."""
    run_dag()

    rows = warehouse.execute("SELECT transition_id, event_id FROM capi.delivery WHERE status = 'delivered'").fetchall()
    assert rows
    assert all(event_id == event_id_of("conversion_leads", transition_id) for transition_id, event_id in rows)


def _bodies(warehouse: Connection, mode: str) -> list[bytes]:
    rows = warehouse.execute(
        "SELECT body FROM capi.chunk JOIN capi.run USING (run_key) WHERE mode = %s ORDER BY chunk_no", [mode]
    )
    return [zlib.decompress(body) for (body,) in rows]


def _dump_metadata(path: Path) -> dict[str, str]:
    with sqlite3.connect(path) as connection:
        return {"metadata": "\n".join(connection.iterdump())}


def _dump_capi(warehouse: Connection) -> dict[str, str]:
    tables = warehouse.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'capi'").fetchall()
    texts = {f"capi.{name}": "\n".join(_rows_as_text(warehouse, name)) for (name,) in tables}
    bodies = warehouse.execute("SELECT body FROM capi.chunk").fetchall()
    return {**texts, "bodies": "\n".join(zlib.decompress(body).decode() for (body,) in bodies)}


def _rows_as_text(warehouse: Connection, name: str) -> Iterator[str]:
    for (row,) in warehouse.execute(f'SELECT to_jsonb(t) FROM capi."{name}" AS t'):
        yield json.dumps(row, ensure_ascii=False)
