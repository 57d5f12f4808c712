"""Backfills, overlapping runs and cleared tasks under Airflow's own scheduler: the right days, and nothing twice.

One Airflow runs for the whole file. What is done to it is one story, told by the fixture; each test reads one chapter.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import pytest
from live_airflow import LiveAirflow, running_airflow

from crm_to_meta.models import event_id_of
from crm_to_meta_demo.environment import meta_connection_json
from crm_to_meta_demo.meta_stand_in.testing import running_stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crm_to_meta.warehouse import Connection
    from crm_to_meta_demo.embedded_postgres import EmbeddedPostgres
    from crm_to_meta_demo.meta_stand_in.testing import StandIn

pytestmark = [pytest.mark.thorough, pytest.mark.airflow, pytest.mark.filterwarnings("ignore")]

PIPELINE: Final = "far_away"
DAG_ID: Final = f"crm_to_meta_{PIPELINE}"
# Whose midnight is not UTC's, and not near: Airflow would start another scheduled run in the midst of the story.
ZONE: Final = ZoneInfo("America/Los_Angeles" if datetime.now(UTC).hour >= 12 else "Asia/Tokyo")
DAYS_BACK: Final = (5, 4, 3)  # what is backfilled; the days after it are the scheduled run's alone
PIPELINE_FILE: Final = f"""
time_zone: {ZONE.key}
start_date: 2026-01-01
stages: {{new: Lead, won: Converted}}
delivery: {{chunk_size: 4, shard_chunks: 8}}
"""


@dataclass(slots=True)
class Chapter:
    """What is to be seen after a part of the story."""

    states: dict[str, str]
    passes: list[dict[str, Any]]  # rows of capi.run
    received: Counter[str]  # how often Meta took each event
    requests: int


@dataclass(slots=True)
class Story:
    """A warehouse, a dataset and an Airflow, and what was done to them."""

    airflow: LiveAirflow
    warehouse: Connection
    stand_in: StandIn
    today: date
    transitions: dict[str, datetime] = field(default_factory=dict)
    chapters: dict[str, Chapter] = field(default_factory=dict)

    def midnight(self, days_back: int) -> datetime:
        """Return the start of a day in the pipeline's zone."""
        return datetime.combine(self.today - timedelta(days=days_back), time.min, tzinfo=ZONE)

    def record(self, label: str, *, per_day: int) -> None:
        """Write transitions of each day into the CRM; the first is at midnight, the last right before the next one."""
        for days_back in range(max(DAYS_BACK), 0, -1):
            start, end = self.midnight(days_back).astimezone(UTC), self.midnight(days_back - 1).astimezone(UTC)
            step = (end - timedelta(seconds=1) - start) / (per_day - 1)
            for number in range(per_day):
                transition_id = f"{label}-{days_back}-{number}"
                self.transitions[transition_id] = start + number * step
                self.warehouse.execute(
                    "INSERT INTO crm.lead_stage_transitions VALUES (%s, 'new', %s, %s)",
                    [transition_id, self.transitions[transition_id], f"{transition_id}@example.com"],
                )

    def backfill(self, *, again: bool) -> int:
        """Start the backfill of the three days."""
        first, last = (self.midnight(days_back).isoformat() for days_back in (DAYS_BACK[0], DAYS_BACK[-1]))
        return self.airflow.backfill(DAG_ID, first, last, again=again)

    def run_id(self, run_type: str) -> str:
        """Return the first DAG run of a type."""
        return str(self.airflow.runs(DAG_ID, run_type)[0]["dag_run_id"])

    def end_chapter(self, name: str, *, backfill: int | None = None) -> None:
        """Wait for all runs and write down what there is."""
        states = self.airflow.wait_for_all(DAG_ID)
        if backfill is not None:
            self.airflow.end_backfill(backfill)
        cursor = self.warehouse.execute("SELECT * FROM capi.run ORDER BY started_at")
        assert cursor.description is not None
        names = [column.name for column in cursor.description]
        self.chapters[name] = Chapter(
            states=states,
            passes=[dict(zip(names, row, strict=True)) for row in cursor],
            received=Counter(entry["event"]["event_id"] for entry in self.stand_in.events()),
            requests=self.stand_in.stats()["requests"],
        )

    def ids(self, label: str, days_back: tuple[int, ...]) -> set[str]:
        """Return the event ids of the transitions of some days."""
        return {
            str(event_id_of(PIPELINE, transition_id))
            for transition_id in self.transitions
            if transition_id.startswith(tuple(f"{label}-{day}-" for day in days_back))
        }

    def new_passes(self, name: str, before: str) -> list[dict[str, Any]]:
        """Return the runs of a chapter that the one before does not have."""
        known = {run["run_key"] for run in self.chapters[before].passes}
        return [run for run in self.chapters[name].passes if run["run_key"] not in known]


@pytest.fixture(scope="module")
def story(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Tell the story, once for all tests."""
    pipelines, folder = tmp_path_factory.mktemp("pipelines"), tmp_path_factory.mktemp("airflow_live")
    (pipelines / f"{PIPELINE}.yaml").write_text(PIPELINE_FILE)
    for database in ("backfill_warehouse", "backfill_metadata"):
        postgres.create_database(database)
    metadata_url = f"postgresql+psycopg2://postgres@/backfill_metadata?host={postgres.socket_folder}"
    with running_stand_in() as stand_in, postgres.connect("backfill_warehouse") as warehouse:
        connections = {
            "AIRFLOW_CONN_WAREHOUSE": postgres.airflow_connection("backfill_warehouse"),
            "AIRFLOW_CONN_META_CAPI": meta_connection_json({}, token=stand_in.token, base_url=stand_in.base_url),
            "CRM_TO_META_PIPELINES": str(pipelines),
            "CRM_TO_META_RETRIES": "5",  # an audit waits for a run that is at work on the same days
        }
        warehouse.execute("CREATE SCHEMA crm")
        warehouse.execute(
            "CREATE TABLE crm.lead_stage_transitions "
            "(transition_id text, stage text, event_time timestamptz, email text)"
        )
        with running_airflow(connections, metadata_url=metadata_url, folder=folder) as airflow:
            told = Story(airflow, warehouse, stand_in, today=datetime.now(ZONE).date())
            _tell(told)
            yield told


def _tell(story: Story) -> None:
    story.airflow.unpause(DAG_ID)
    story.end_chapter("nothing to do yet")  # the scheduled run of yesterday, which Airflow starts by itself

    story.record("first", per_day=6)
    story.end_chapter("backfill", backfill=story.backfill(again=False))
    story.end_chapter("backfill again", backfill=story.backfill(again=True))

    story.airflow.clear_run(DAG_ID, story.run_id("scheduled"))
    story.end_chapter("scheduled run over the same days")

    story.record("second", per_day=16)
    story.stand_in.set_faults([{"kind": "slow", "seconds": 0.2, "process": "first"}])
    story.airflow.clear_run(DAG_ID, story.run_id("scheduled"))
    story.backfill(again=True)
    story.end_chapter("both at once")
    story.stand_in.clear_faults()

    story.airflow.clear_task(DAG_ID, story.run_id("scheduled"), "load")
    story.airflow.clear_run(DAG_ID, story.run_id("backfill"))
    story.end_chapter("cleared")


def test_backfill_runs_have_exactly_their_days(story: Story) -> None:
    """Each run's window is its day in the pipeline's zone, midnight to midnight, and it does not look back."""
    backfilled = story.new_passes("backfill", before="nothing to do yet")

    assert sorted((run["window_start"], run["window_end"], run["is_sweep"], run["run_type"]) for run in backfilled) == [
        (story.midnight(days_back), story.midnight(days_back - 1), False, "backfill") for days_back in DAYS_BACK
    ]
    assert [run["extracted"] for run in backfilled] == [6, 6, 6]


def test_backfill_sends_its_days_and_no_other(story: Story) -> None:
    """Meta has the events of the three days, each once, the ones at either end of a day included."""
    chapter = story.chapters["backfill"]

    assert set(chapter.states.values()) == {"success"}
    assert chapter.received == Counter(story.ids("first", DAYS_BACK))


def test_backfill_of_all_runs_again_sends_nothing(story: Story) -> None:
    """The same three days with "All Runs": the runs work again, and not one request goes out."""
    chapter, before = story.chapters["backfill again"], story.chapters["backfill"]
    again = story.new_passes("backfill again", before="backfill")

    assert set(chapter.states.values()) == {"success"}
    assert sorted(run["window_start"] for run in again) == [story.midnight(days_back) for days_back in DAYS_BACK]
    assert [run["pass_no"] for run in again] == [2, 2, 2]
    assert [run["extracted"] for run in again] == [0, 0, 0]
    assert (chapter.received, chapter.requests) == (before.received, before.requests)


def test_scheduled_run_over_backfilled_days_sends_only_the_rest(story: Story) -> None:
    """A sweep that reaches back over the backfilled days sends the days that nobody backfilled, and no event twice."""
    (sweep,) = story.new_passes("scheduled run over the same days", before="backfill again")
    received = story.chapters["scheduled run over the same days"].received

    assert (sweep["is_sweep"], sweep["run_type"]) == (True, "scheduled")
    assert sweep["window_start"] < story.midnight(max(DAYS_BACK))
    assert received == Counter(story.ids("first", (5, 4, 3, 2, 1)))


def test_backfill_beside_a_scheduled_run_loses_and_doubles_nothing(story: Story) -> None:
    """Both at work at the same time on the same days: every event arrives, and arrives once."""
    chapter = story.chapters["both at once"]
    runs = story.new_passes("both at once", before="scheduled run over the same days")
    every = story.ids("first", (5, 4, 3, 2, 1)) | story.ids("second", (5, 4, 3, 2, 1))

    assert sorted(run["run_type"] for run in runs) == ["backfill", "backfill", "backfill", "scheduled"]
    assert min(run["finished_at"] for run in runs) > max(run["started_at"] for run in runs)  # they did overlap
    assert sum(run["extracted"] for run in runs) == 16 * 5
    assert set(chapter.states.values()) == {"success"}
    assert chapter.received == Counter(every)


def test_clearing_sends_nothing_twice(story: Story) -> None:
    """A cleared `load` and a cleared DAG run work again, end well, and no request goes out."""
    chapter, before = story.chapters["cleared"], story.chapters["both at once"]

    assert set(chapter.states.values()) == {"success"}
    assert len(story.new_passes("cleared", before="both at once")) == 1
    assert (chapter.received, chapter.requests) == (before.received, before.requests)


def test_every_run_conserves_its_rows(story: Story) -> None:
    """After all of it each run's counts add up, and the ledger has every transition as delivered."""
    statuses = "delivered + rejected + quarantined + expired + skipped + in_doubt + pending"
    open_sums = story.warehouse.execute(
        f"SELECT run_key FROM capi.run WHERE extracted <> {statuses} + taken_over"
    ).fetchall()
    ledger = story.warehouse.execute("SELECT status, count(*) FROM capi.delivery GROUP BY 1").fetchall()

    assert open_sums == []
    assert ledger == [("delivered", len(story.transitions))]
