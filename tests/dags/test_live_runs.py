"""Forms, notes, assets and alerts under Airflow's own scheduler: what `dag.test()` cannot show.

One Airflow runs for the whole file. What is done to it is one story, told by the fixture; each test reads one part.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from live_airflow import LiveAirflow, running_airflow

from crm_to_meta_demo.airflow_process import airflow_environment
from crm_to_meta_demo.environment import PROJECT_FOLDER, meta_connection_json
from crm_to_meta_demo.meta_stand_in.testing import running_stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from crm_to_meta.warehouse import Connection
    from crm_to_meta_demo.embedded_postgres import EmbeddedPostgres

pytestmark = [pytest.mark.thorough, pytest.mark.airflow, pytest.mark.filterwarnings("ignore")]

DAG_ID: Final = "crm_to_meta_watched"
SOURCE: Final = "warehouse/crm.lead_stage_transitions"
DAYS: Final = 5


@dataclass(slots=True)
class Story:
    """A warehouse, an Airflow, and the runs that were made."""

    airflow: LiveAirflow
    warehouse: Connection
    told: Path
    today: date
    run_ids: dict[str, str] = field(default_factory=dict)
    refusal: str = ""

    def midnight(self, days_back: int) -> datetime:
        """Return the start of a day."""
        return datetime.combine(self.today - timedelta(days=days_back), datetime.min.time(), UTC)

    def trigger(self, name: str, *, conf: dict[str, Any], **body: Any) -> None:
        """Start a run as the form does, and wait until it has ended."""
        request = {"logical_date": datetime.now(UTC).isoformat(), "conf": conf, **body}
        self.run_ids[name] = self.airflow.ask("POST", f"dags/{DAG_ID}/dagRuns", request)["dag_run_id"]
        self.airflow.wait_for_all(DAG_ID)

    def remember(self, name: str, run_type: str) -> None:
        """Wait for the run of a type, and give it a name."""
        deadline = time.monotonic() + 60
        while not self.airflow.runs(DAG_ID, run_type):
            assert time.monotonic() < deadline, f"no run of type {run_type}"
            time.sleep(0.2)
        self.airflow.wait_for_all(DAG_ID)
        self.run_ids[name] = str(self.airflow.runs(DAG_ID, run_type)[0]["dag_run_id"])

    def run(self, name: str) -> dict[str, Any]:
        """Return a run as Airflow's API has it."""
        return dict(self.airflow.ask("GET", f"dags/{DAG_ID}/dagRuns/{self.run_ids[name]}"))

    def record(self, name: str) -> tuple[Any, ...]:
        """Return mode, run type, window and delivered events of a run, as the warehouse has them."""
        row = self.warehouse.execute(
            "SELECT mode, run_type, window_start, window_end, is_sweep, delivered FROM capi.run WHERE dag_run_id = %s",
            [self.run_ids[name]],
        ).fetchone()
        assert row is not None
        return row


@pytest.fixture(scope="module")
def story(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Tell the story, once for all tests."""
    pipelines, folder = tmp_path_factory.mktemp("pipelines"), tmp_path_factory.mktemp("airflow_live")
    told = folder / "told"
    told.write_text("")
    arguments = {"text": "{{ headline }} {{ link }}", "path": str(told)}
    alerts = {
        "on_failure": [{"notifier": "recording_notifier.RecordingNotifier", "arguments": arguments}],
        "late_after_minutes": 600,
    }
    (pipelines / "watched.yaml").write_text(
        f"start_date: 2026-01-01\nstages: {{new: Lead}}\nstarts_on: both\nalerts: {json.dumps(alerts)}\n"
    )
    for database in ("lists_warehouse", "lists_metadata"):
        postgres.create_database(database)
    metadata_url = f"postgresql+psycopg2://postgres@/lists_metadata?host={postgres.socket_folder}"
    with running_stand_in() as stand_in, postgres.connect("lists_warehouse") as warehouse:
        connections = {
            "AIRFLOW_CONN_WAREHOUSE": postgres.airflow_connection("lists_warehouse"),
            "AIRFLOW_CONN_META_CAPI": meta_connection_json({}, token=stand_in.token, base_url=stand_in.base_url),
            "CRM_TO_META_PIPELINES": str(pipelines),
            "PYTHONPATH": f"{airflow_environment({})['PYTHONPATH']}:{PROJECT_FOLDER / 'tests' / 'dags'}",
        }
        with running_airflow(connections, metadata_url=metadata_url, folder=folder) as airflow:
            teller = Story(airflow, warehouse, told, today=datetime.now(UTC).date())
            _tell(teller)
            yield teller


def _tell(story: Story) -> None:
    story.warehouse.execute("CREATE SCHEMA crm")
    story.warehouse.execute(
        "CREATE TABLE crm.lead_stage_transitions (transition_id text, stage text, event_time timestamptz, email text)"
    )
    story.warehouse.execute(
        "INSERT INTO crm.lead_stage_transitions "
        "SELECT 'day-' || day, 'new', now()::date - day * interval '1 day' + interval '9 hours', day || '@example.com' "
        "FROM generate_series(1, %s) AS day",
        [DAYS],
    )
    airflow = story.airflow
    airflow.unpause(DAG_ID)
    story.remember("scheduled", "scheduled")
    story.trigger("untouched", conf={})
    try:
        airflow.ask("POST", f"dags/{DAG_ID}/dagRuns", {"logical_date": None, "conf": {"date": "yesterday"}})
    except RuntimeError as error:
        story.refusal = str(error)
    interval = {
        "data_interval_start": (story.midnight(3) + timedelta(hours=8)).isoformat(),
        "data_interval_end": (story.midnight(2)).isoformat(),
    }
    story.trigger("picked interval", conf={"mode": "preview"}, **interval)
    story.warehouse.execute(
        "INSERT INTO crm.lead_stage_transitions "
        "VALUES ('late', 'new', now()::date - interval '3 hours', 'l@example.com')"
    )
    asset = next(one for one in airflow.ask("GET", "assets?limit=50")["assets"] if one["name"] == SOURCE)
    airflow.ask("POST", "assets/events", {"asset_id": asset["id"], "extra": {}})
    story.remember("by asset", "asset_triggered")
    day = story.midnight(2).isoformat()
    body = {"dag_id": DAG_ID, "from_date": day, "to_date": day, "dag_run_conf": {"date": "2026-02-01"}}
    airflow.ask("POST", "backfills", {**body, "reprocess_behavior": "none", "max_active_runs": 1})
    story.remember("backfill with a date", "backfill")
    story.warehouse.execute("DROP TABLE crm.lead_stage_transitions")
    story.trigger("broken", conf={"mode": "live"})
    deadline = time.monotonic() + 60
    while SOURCE.partition("/")[2] not in story.told.read_text() and time.monotonic() < deadline:
        time.sleep(0.2)


def test_that_the_scheduler_notes_what_a_run_came_to(story: Story) -> None:
    """A scheduled run sends, and the list of runs says what came of it."""
    run = story.run("scheduled")

    assert (run["state"], run["note"]) == ("success", f"Meta: {DAYS} delivered")
    assert story.record("scheduled")[0] == "live"


def test_that_an_untouched_form_previews(story: Story) -> None:
    """The same form, sent as it is."""
    run = story.run("untouched")

    assert (run["state"], run["note"]) == ("success", "Meta: preview: nothing new")
    assert story.record("untouched")[:2] == ("preview", "manual")


def test_that_a_wrong_day_is_refused_before_a_run_exists(story: Story) -> None:
    """Airflow answers with the parameter's name."""
    assert " 400 " in story.refusal
    assert "date" in story.refusal


def test_that_an_interval_specified_by_hand_is_taken(story: Story) -> None:
    """What a person specifies is neither the day before nor the whole lookback."""
    _, _, start, end, is_sweep, _ = story.record("picked interval")

    assert (start, end, is_sweep) == (story.midnight(3) + timedelta(hours=8), story.midnight(2), False)


def test_that_an_asset_starts_a_live_run(story: Story) -> None:
    """Whoever fills the source table can start the pipeline, which takes what is new up to the last midnight."""
    mode, run_type, _, end, is_sweep, _ = story.record("by asset")

    assert (mode, run_type, is_sweep) == ("live", "asset_triggered", True)
    assert end == story.midnight(0)
    assert story.run("by asset")["state"] == "success"


def test_that_asset_events_have_the_counts(story: Story) -> None:
    """Meta's dataset changed in the runs that sent something, and in no other."""
    events = [
        event
        for event in story.airflow.ask("GET", "assets/events?limit=50")["asset_events"]
        if event["source_dag_id"] == DAG_ID
    ]
    of_scheduled = [event for event in events if event["source_run_id"] == story.run_ids["scheduled"]]

    assert [event["extra"]["delivered"] for event in of_scheduled] == [DAYS]
    assert {event["source_run_id"] for event in events} <= {story.run_ids["scheduled"], story.run_ids["by asset"]}


def test_that_a_backfill_with_a_date_is_refused(story: Story) -> None:
    """The first task says so, and the note repeats it where the backfill's runs are listed."""
    run = story.run("backfill with a date")

    assert run["state"] == "failed"
    assert str(run["note"]).startswith("Meta: extract: A backfill takes the days that it is started for, and `date`")


def test_that_a_failure_is_told_once(story: Story) -> None:
    """The DAG processor tells the notifier: what `extract` said, and a link that can be clicked."""
    alerts = story.told.read_text().splitlines()
    of_broken = [line for line in alerts if "crm.lead_stage_transitions" in line]

    assert story.run("broken")["state"] == "failed"
    assert len(of_broken) == 1
    assert of_broken[0].startswith("watched failed: extract: ")
    assert f"{story.airflow.url}/dags/{DAG_ID}/runs/manual__" in of_broken[0]
