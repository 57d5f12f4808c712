"""Who is told of a run that failed, of odd data and of a late run, and what is in it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from crm_to_meta.errors import PipelineFileError
from crm_to_meta.pipeline.settings import PIPELINES_FOLDER, load_pipeline
from crm_to_meta_demo.environment import PROJECT_FOLDER, meta_connection_json
from crm_to_meta_demo.sample_crm import fill_sample_crm

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import AirflowHome

    from crm_to_meta.warehouse import Connection
    from crm_to_meta_demo.embedded_postgres import EmbeddedPostgres
    from crm_to_meta_demo.meta_stand_in.testing import StandIn

pytestmark = [pytest.mark.airflow, pytest.mark.filterwarnings("ignore")]

DAG_ID = "crm_to_meta_watched"
RECORDING = "recording_notifier.RecordingNotifier"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one pipeline file that names a notifier for each occasion, the first of which is broken."""
    folder = tmp_path_factory.mktemp("pipelines")
    told = {"notifier": RECORDING, "arguments": {"text": "{{ headline }} {{ link }}", "path": str(folder / "told")}}
    broken = {"notifier": "recording_notifier.BrokenNotifier"}
    settings = {
        "start_date": "2026-01-01",
        "stages": load_pipeline(PIPELINES_FOLDER / "conversion_leads.yaml").stages,
        "quality": {"lead_ids": {"severity": "warning", "at_least": 1}, "max_quarantined_share": 1},
        "alerts": {
            "on_failure": [broken, told],
            "on_quality": [broken, told],
            "late_after_minutes": 90,
            "on_late": [broken, told],
        },
    }
    (folder / "watched.yaml").write_text(json.dumps(settings).replace('"2026-01-01"', "2026-01-01"))
    return folder


@pytest.fixture
def told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Return what was told so far in this test."""
    monkeypatch.setenv("CRM_TO_META_PIPELINES", str(folder))
    path = folder / "told"
    path.write_text("")
    return lambda: path.read_text().splitlines()


@pytest.fixture(scope="module")
def watched_dag(airflow_home: AirflowHome, folder: Path) -> Any:
    """The DAG of the pipeline file."""
    from airflow.dag_processing.dagbag import DagBag

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRM_TO_META_PIPELINES", str(folder))
        return DagBag(str(PROJECT_FOLDER / "dags")).dags[DAG_ID]


@pytest.fixture
def run_watched(
    watched_dag: Any,
    postgres: EmbeddedPostgres,
    database: str,
    warehouse: Connection,
    stand_in: StandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Any]:
    """Run the DAG on a small sample CRM."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", postgres.airflow_connection(database))
    monkeypatch.setenv(
        "AIRFLOW_CONN_META_CAPI", meta_connection_json({}, token=stand_in.token, base_url=stand_in.base_url)
    )
    monkeypatch.setattr(watched_dag, "deadline", [])  # `dag.test()` cannot end a DAG that has one
    fill_sample_crm(warehouse, datetime.now(UTC).date(), leads=60)
    return lambda **conf: watched_dag.test(run_conf={"mode": "live", "date": None, "test_event_code": None, **conf})


def test_that_odd_data_is_told_where_it_is_found(
    run_watched: Callable[..., Any], told: Callable[[], list[str]], stand_in: StandIn
) -> None:
    """A rule about the batch is broken: one alert with the rule in words and a link; the run goes on."""
    run = run_watched()
    (alert,) = told()

    assert run.state == "success"
    assert alert.startswith("watched: the data looks odd. ")
    assert alert.endswith(f"/dags/{DAG_ID}/runs/{quote(run.run_id, safe='')}/plugin/crm_to_meta_run")


@pytest.mark.thorough
def test_that_a_failed_run_is_told_once(
    run_watched: Callable[..., Any], told: Callable[[], list[str]], stand_in: StandIn
) -> None:
    """Two tasks failed, and there is one alert; `dag.test()` lets no callback read XComs, see test_live_runs.py."""
    stand_in.set_settings(tokens=["another-token"], expired_tokens=[stand_in.token])

    run = run_watched()
    alerts = [line for line in told() if " failed: " in line]

    assert run.state == "failed"
    assert len(alerts) == 1, told()
    assert "/dags/crm_to_meta_watched/runs/manual__" in alerts[0]
    assert stand_in.token not in alerts[0]


class FailedTask:
    """The task instance of a failed run, of which a callback asks what the tasks have left."""

    def __init__(self, **left: Any) -> None:
        self.left = left

    def xcom_pull(self, *, task_ids: str, key: str) -> Any:
        """Return what a task has left: nothing, a text, or a list of those of mapped tasks."""
        if task_ids == "transform":
            raise RuntimeError("the API server is gone")
        return self.left.get(f"{task_ids}_{key.rpartition('_')[2]}")


@pytest.mark.parametrize(
    ("left", "what"),
    [
        (
            {"audit_figures": "0 delivered, 98 pending", "load_problem": [None, "auth_190: no", "x"]},
            "0 delivered, 98 pending; load: auth_190: no.",
        ),
        (
            {"audit_figures": "3 delivered, 2 pending", "audit_problem": "2 events are pending"},
            "3 delivered, 2 pending.",
        ),
        ({"extract_problem": "There is no table"}, "extract: There is no table."),
        ({}, "the log of its failed task says why."),
    ],
    ids=["figures and cause", "figures alone", "cause alone", "nothing"],
)
def test_that_a_failure_is_told_with_figures_and_cause(
    airflow_home: AirflowHome, folder: Path, told: Callable[[], list[str]], left: dict[str, Any], what: str
) -> None:
    """What the audit counted, and what the first failed task said."""
    from types import SimpleNamespace

    from crm_to_meta_airflow.alerts import tell_failure

    run = SimpleNamespace(run_type="scheduled", conf=None, run_id="scheduled__1")
    tell_failure(load_pipeline(folder / "watched.yaml"), {"dag_run": run, "ti": FailedTask(**left)})
    (alert,) = told()

    assert alert.startswith(f"watched failed: {what} ")


@pytest.mark.thorough
def test_that_previews_alert_nobody(
    run_watched: Callable[..., Any], told: Callable[[], list[str]], warehouse: Connection
) -> None:
    """Who previews is looking already, also where the preview fails."""
    good = run_watched(mode="preview")
    warehouse.execute("DROP TABLE crm.lead_stage_transitions")
    bad = run_watched(mode="preview")

    assert (good.state, bad.state) == ("success", "failed")
    assert told() == []


@pytest.mark.thorough
def test_that_alerts_hold_no_value(
    run_watched: Callable[..., Any], told: Callable[[], list[str]], warehouse: Connection
) -> None:
    """Where every row is bad, the alert counts them."""
    columns = "transition_id, email, phone, first_name, last_name"
    rows = warehouse.execute(f"SELECT {columns} FROM crm.lead_stage_transitions").fetchall()
    warehouse.execute("UPDATE crm.lead_stage_transitions SET event_time = NULL")

    run_watched()
    text = "\n".join(told())

    assert text
    assert [value for row in rows for value in row if value and len(str(value)) > 4 and str(value) in text] == []


@pytest.mark.parametrize("run_type", ["scheduled", "asset_triggered"])
def test_that_a_late_run_is_told(airflow_home: AirflowHome, told: Callable[[], list[str]], run_type: str) -> None:
    """Airflow calls with the run as a plain mapping."""
    from crm_to_meta_airflow.alerts import tell_late

    tell_late({"dag_run": {"dag_run_id": "scheduled__1", "run_type": run_type}}, "watched")
    (alert,) = told()

    assert alert.startswith("watched is late: the run scheduled__1 is not done 90 minutes after it was due.")
    assert alert.endswith(f"/dags/{DAG_ID}/runs/scheduled__1/plugin/crm_to_meta_run")


@pytest.mark.parametrize("run_type", ["backfill", "manual", "asset_materialization"])
def test_that_nobody_waits_for_other_runs(
    airflow_home: AirflowHome, told: Callable[[], list[str]], run_type: str
) -> None:
    """A backfill of a month is not thirty late uploads."""
    from crm_to_meta_airflow.alerts import tell_late

    tell_late({"dag_run": {"dag_run_id": "r", "run_type": run_type}}, "watched")

    assert told() == []


def test_that_the_deadline_counts_from_when_the_run_was_queued(watched_dag: Any, airflow_home: AirflowHome) -> None:
    """From its logical date, every run of an old day would be late at once. Without the setting there is none."""
    (deadline,) = watched_dag.deadline

    assert deadline.interval == timedelta(minutes=90)
    assert type(deadline.reference).__name__ == "DagRunQueuedAtDeadline"
    assert deadline.callback.path == "crm_to_meta_airflow.alerts.tell_late"
    assert not airflow_home.dag_bag.dags["crm_to_meta_conversion_leads"].deadline


def write(folder: Path, alerts: dict[str, Any]) -> Path:
    """Write a pipeline file with these alerts."""
    path = folder / "leads.yaml"
    path.write_text(f"start_date: 2026-01-01\nstages: {{new: Lead}}\nalerts: {json.dumps(alerts)}\n")
    return path


@pytest.mark.parametrize(
    ("alerts", "told"),
    [
        (
            {"on_failure": [{"notifier": "airflow.providers.slak.SlackNotifier"}]},
            "key `alerts.on_failure.0.notifier`: there is no module `airflow.providers.slak`; install the provider",
        ),
        ({"on_late": [{"notifier": "Notifier"}]}, "key `alerts.on_late.0.notifier`: must be the path of a class"),
        ({"on_late": [{"notifier": RECORDING}]}, "key `alerts`: `on_late` tells nobody without `late_after_minutes`"),
        ({"on_success": []}, "key `alerts.on_success` is unknown"),
    ],
    ids=["no such module", "no path", "never late", "no such occasion"],
)
def test_that_a_wrong_alert_is_told_where_the_file_is_read(tmp_path: Path, alerts: dict[str, Any], told: str) -> None:
    """With file, key and remedy; the notifier is not imported."""
    with pytest.raises(PipelineFileError) as refusal:
        load_pipeline(write(tmp_path, alerts))

    assert str(refusal.value).partition("leads.yaml: ")[2].startswith(told)


@pytest.mark.parametrize(
    ("notifier", "arguments", "told"),
    [
        ("recording_notifier.NoSuchNotifier", {}, "has no attribute 'NoSuchNotifier'"),
        (RECORDING, {"txt": "x"}, "unexpected keyword argument 'txt'"),
        (RECORDING, {"text": "x", "path": "y"}, None),
    ],
    ids=["no such class", "no such argument", "good"],
)
def test_that_the_check_makes_each_notifier(
    airflow_home: AirflowHome, tmp_path: Path, notifier: str, arguments: dict[str, Any], told: str | None
) -> None:
    """What only an import can find out is a line of `check`; nobody is told anything."""
    from crm_to_meta_airflow.alerts import find_unusable_notifiers

    pipeline = load_pipeline(write(tmp_path, {"on_quality": [{"notifier": notifier, "arguments": arguments}]}))
    problems = find_unusable_notifiers(pipeline)

    assert len(problems) == (told is not None)
    assert all(f"leads.yaml: key `alerts.on_quality.0`: {notifier} cannot be made" in problem for problem in problems)
    assert all(str(told) in problem for problem in problems)
