"""What Airflow's own lists, assets and metrics say about a run, after `dag.test()`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from crm_to_meta_demo.sample_crm import build_transitions, deleted_lead_ids, fill_sample_crm, personal_values

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import AirflowHome

    from crm_to_meta.warehouse import Connection
    from crm_to_meta_demo.meta_stand_in.testing import StandIn

pytestmark = [pytest.mark.airflow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def sample(warehouse: Connection, stand_in: StandIn) -> list[Any]:
    """A small sample CRM in the test's warehouse."""
    today = datetime.now(UTC).date()
    transitions = build_transitions(today, leads=60)
    fill_sample_crm(warehouse, today, leads=60)
    stand_in.set_settings(deleted_lead_ids=deleted_lead_ids(transitions))
    return transitions


def note_of(run: Any) -> str | None:
    """Return the note of a DAG run, after the scheduler has ended it: `dag.test()` has no session for a listener."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from crm_to_meta_airflow.listener import NoteListener

    query = select(DagRun).where(DagRun.run_id == run.run_id)
    with create_session() as session:
        stored = session.scalars(query).one()
        end = NoteListener().on_dag_run_success if run.state == "success" else NoteListener().on_dag_run_failed
        end(stored, "")
    with create_session() as session:
        return session.scalars(query).one().note


def asset_events(run: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return name and extra of the asset events of a run."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(AssetModel.name, AssetEvent.extra).join(AssetModel, AssetModel.id == AssetEvent.asset_id)
    with create_session() as session:
        return [tuple(row) for row in session.execute(query.where(AssetEvent.source_run_id == run.run_id))]


def test_that_the_note_of_a_run_says_what_it_came_to(
    run_dag: Callable[..., Any], sample: list[Any], warehouse: Connection
) -> None:
    """Figures in lists and headers: those of capi.run, and no value of a row."""
    run = run_dag()
    (delivered, look, expired), *_ = warehouse.execute(
        "SELECT delivered, rejected + quarantined, expired FROM capi.run"
    ).fetchall()
    note = note_of(run)

    assert note == f"Meta: {delivered:,} delivered, {look:,} need a look, {expired:,} too old"
    assert [value for value in personal_values(sample) if value in note] == []


@pytest.mark.thorough
def test_that_a_preview_says_so(run_dag: Callable[..., Any], sample: list[Any], warehouse: Connection) -> None:
    """Nobody takes the figures of a preview for delivered events."""
    run = run_dag(mode="preview")
    ((pending,),) = warehouse.execute("SELECT pending FROM capi.run").fetchall()

    assert str(note_of(run)).startswith(f"Meta: preview: {pending:,} to send, ")
    assert asset_events(run) == []


@pytest.mark.thorough
def test_that_the_note_of_a_red_run_has_the_cause(
    run_dag: Callable[..., Any], sample: list[Any], warehouse: Connection, stand_in: StandIn
) -> None:
    """What is left, and what the first failed task said; nothing changed at Meta, so its asset has no event."""
    stand_in.set_settings(tokens=["another-token"], expired_tokens=[stand_in.token])

    run = run_dag()
    note = str(note_of(run))

    assert run.state == "failed"
    assert note.startswith("Meta: 0 delivered, ")
    assert " pending, " in note
    assert "; load: auth_190_463: The access token has expired" in note
    assert asset_events(run) == []


@pytest.mark.thorough
def test_that_a_run_without_figures_names_the_first_failed_task(run_dag: Callable[..., Any]) -> None:
    """Where `extract` failed there is nothing to count, and a cause."""
    note = note_of(run_dag())

    assert str(note).startswith("Meta: extract: ")
    assert "crm.lead_stage_transitions" in str(note)


@pytest.mark.thorough
def test_that_a_run_without_a_word_says_so(
    run_dag: Callable[..., Any], airflow_home: AirflowHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is killed, or one that Airflow could not start, leaves nothing; the list does not stay empty."""
    from crm_to_meta_airflow import short_lines

    monkeypatch.setattr(short_lines, "hand_over_problem", lambda _: None)

    assert note_of(run_dag()) == "Meta: failed, and no task could say why"


@pytest.mark.thorough
def test_that_the_asset_event_has_the_counts(
    run_dag: Callable[..., Any], sample: list[Any], warehouse: Connection
) -> None:
    """Meta's dataset has changed, and by how much."""
    run = run_dag()
    ((run_key, delivered, quarantined),) = warehouse.execute(
        "SELECT run_key, delivered, quarantined FROM capi.run"
    ).fetchall()
    ((name, extra),) = asset_events(run)

    assert name == "meta_capi/events"
    assert (extra["run_key"], extra["mode"]) == (run_key, "live")
    assert (extra["delivered"], extra["quarantined"]) == (delivered, quarantined)
    assert asset_events(run_dag()) == []  # a second run has nothing to send


@pytest.mark.thorough
def test_that_metrics_count_what_was_sent(
    run_dag: Callable[..., Any], sample: list[Any], warehouse: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through Airflow's own stats; a preview sends none, and stats that fail do no harm."""
    from airflow.sdk.observability import stats

    sent: dict[str, float] = {}
    monkeypatch.setattr(stats, "incr", lambda name, number, **_: sent.__setitem__(name, number))
    monkeypatch.setattr(stats, "gauge", lambda name, number, **_: sent.__setitem__(name, number))
    run_dag(mode="preview")
    of_preview = dict(sent)
    run_dag()
    ((delivered, rejected, quarantined),) = warehouse.execute(
        "SELECT delivered, rejected, quarantined FROM capi.run WHERE mode = 'live'"
    ).fetchall()

    assert of_preview == {}
    assert sent.pop("crm_to_meta.delay_seconds") > 0
    assert sent.get("crm_to_meta.rejected", 0) == rejected
    assert sent["crm_to_meta.sent"] == delivered
    assert sent["crm_to_meta.quarantined"] == quarantined

    monkeypatch.setattr(stats, "gauge", None)
    assert run_dag().state == "success"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "Meta: new"),
        ("", "Meta: new"),
        ("Meta: old", "Meta: new"),
        ("I look into it.", "I look into it.\nMeta: new"),
        ("I look into it.\nMeta: old\nDone.", "I look into it.\nDone.\nMeta: new"),
        ("x" * 1000, "x" * 1000),
        ("x" * 990, "x" * 990 + "\nMeta: new"),
    ],
    ids=["none", "empty", "own", "a person's", "both", "a long one", "a nearly full one"],
)
def test_that_a_persons_note_stays(airflow_home: AirflowHome, before: str | None, after: str) -> None:
    """Only the line of this project is replaced."""
    from crm_to_meta_airflow.listener import merge_note

    assert merge_note(before, "new") == after


@pytest.mark.thorough
def test_that_a_person_stays_the_author_of_a_note(
    run_dag: Callable[..., Any], airflow_home: AirflowHome, sample: list[Any]
) -> None:
    """The line is added below, and Airflow still says who wrote the note."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from crm_to_meta_airflow.listener import write_note

    run = run_dag()
    note_of(run)
    with create_session() as session:
        stored = session.scalars(select(DagRun).where(DagRun.run_id == run.run_id)).one()
        stored.dag_run_note.content = "Checked."
        stored.dag_run_note.user_id = "anna"
        write_note(stored)
        content, author = stored.dag_run_note.content, stored.dag_run_note.user_id

    assert content.startswith("Checked.\nMeta: ")
    assert author == "anna"


def test_that_runs_of_other_dags_cost_nothing(airflow_home: AirflowHome) -> None:
    """The listener hears of every run of the deployment; of another DAG's it reads the id alone. It never raises."""
    from crm_to_meta_airflow.listener import NoteListener

    class Run:
        dag_id = "another"

    NoteListener().on_dag_run_success(Run(), "")
    Run.dag_id = "crm_to_meta_leads"
    Run.run_id = "r"
    NoteListener().on_dag_run_failed(Run(), "")
