"""What every DAG of this project keeps to."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest

from crm_to_meta.models import Mode
from crm_to_meta.pipeline.settings import PIPELINES_FOLDER, dag_id_of, list_pipeline_files
from crm_to_meta_demo.environment import PROJECT_FOLDER

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import AirflowHome

pytestmark = [pytest.mark.airflow, pytest.mark.filterwarnings("ignore")]

STEPS = ["extract", "validate", "transform", "load", "audit"]


@pytest.fixture(params=[dag_id_of(path.stem) for path in list_pipeline_files()])
def dag(request: pytest.FixtureRequest, airflow_home: AirflowHome) -> Any:
    """Each DAG of the project."""
    return airflow_home.dag_bag.dags[request.param]


def test_that_every_dag_file_imports(airflow_home: AirflowHome) -> None:
    """No DAG file fails to import."""
    assert airflow_home.dag_bag.import_errors == {}


def test_that_each_pipeline_file_is_one_dag(airflow_home: AirflowHome) -> None:
    """There are as many DAGs as pipeline files, with their names, and the one that forgets people."""
    of_pipelines = {dag_id_of(path.stem) for path in list_pipeline_files()}

    assert set(airflow_home.dag_bag.dags) == {*of_pipelines, "crm_to_meta_erase"}


def test_that_a_broken_pipeline_file_stops_no_other(
    airflow_home: AirflowHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that cannot be used is a red DAG that says why; the DAGs of the other files are there."""
    from airflow.dag_processing.dagbag import DagBag

    good = (PIPELINES_FOLDER / "conversion_leads.yaml").read_text()
    (tmp_path / "good.yaml").write_text(good)
    (tmp_path / "bad.yaml").write_text(good.replace("unmapped_stages:", "unmaped_stages:"))
    monkeypatch.setenv("CRM_TO_META_PIPELINES", str(tmp_path))

    bag = DagBag(str(PROJECT_FOLDER / "dags"))

    assert bag.import_errors == {}
    assert [task.task_id for task in bag.dags["crm_to_meta_bad"].tasks] == ["extract"]
    assert "bad.yaml: key `unmaped_stages` is unknown" in bag.dags["crm_to_meta_bad"].doc_md
    assert len(bag.dags["crm_to_meta_good"].tasks) == len(STEPS)
    assert bag.dags["crm_to_meta_bad"].test().state == "failed"


def test_that_the_steps_have_one_vocabulary(dag: Any) -> None:
    """Task ids are the five steps, in the order of the flow."""
    assert [task.task_id for task in dag.topological_sort() if task.task_id in STEPS] == STEPS
    assert len(dag.tasks) == len(STEPS)


def test_that_every_interval_has_a_length(dag: Any) -> None:
    """A scheduled run is about a period, not a moment: a bare @daily would be empty in Airflow 3."""
    import pendulum
    from airflow.serialization.serialized_objects import DagSerialization

    timetable = DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable

    interval = timetable.infer_manual_data_interval(run_after=pendulum.instance(dag.start_date).add(days=3))

    assert (interval.end - interval.start).total_seconds() == 24 * 3600


def test_that_every_task_may_be_tried_again(dag: Any) -> None:
    """A retry policy decides by error class; without retries it could not."""
    for task in dag.tasks:
        assert type(task.retry_policy).__name__ == "CrmToMetaRetryPolicy"


def test_that_the_audit_runs_whatever_happened(dag: Any) -> None:
    """The audit is last, so it decides whether the run is green; and it runs where there is something to count."""
    audit = dag.get_task("audit")

    assert audit.trigger_rule == "all_done_min_one_success"
    assert audit.upstream_task_ids == {"extract", "load"}
    assert not audit.downstream_task_ids


def test_that_the_docstring_is_the_runbook(dag: Any) -> None:
    """The UI shows what to do when a task fails."""
    assert "when it fails" in dag.doc_md
    for step in STEPS:
        assert f"`{step}`" in dag.doc_md


def test_that_params_are_typed_and_described(dag: Any) -> None:
    """Whoever triggers the DAG by hand sees what each parameter means, and none in an accordion that is closed."""
    for name in ("mode", "date", "test_event_code"):
        schema = dag.params.get_param(name).schema
        assert schema["title"]
        assert schema["description_md"]
        assert schema["type"]
        assert "section" not in schema


def test_that_each_choice_of_the_form_has_a_label(dag: Any) -> None:
    """The form shows words, the first of which is what an untouched form means."""
    mode = dag.params.get_param("mode")

    assert list(mode.schema["values_display"]) == mode.schema["enum"]
    assert mode.value == mode.schema["enum"][0] == "planned"
    assert set(mode.schema["enum"]) == {"planned", *Mode}


@pytest.mark.parametrize(
    "conf",
    [
        {"mode": ""},
        {"mode": None},
        {"mode": "dry"},
        {"date": "yesterday"},
        {"date": "2026-02-30"},
        {"date": "20260301"},
        {"test_event_code": "not this"},
    ],
    ids=str,
)
def test_that_the_form_refuses_what_no_run_could_use(dag: Any, conf: dict[str, Any]) -> None:
    """A parameter that is wrong by itself is refused before a run exists, as is a field that was emptied."""
    from airflow.sdk.exceptions import ParamValidationError

    params = deepcopy(dag.params)
    with pytest.raises(ParamValidationError):
        params.update(conf)


@pytest.mark.parametrize("path", sorted((PROJECT_FOLDER / "dags").glob("*.py")), ids=lambda path: path.name)
def test_that_dag_files_stay_thin(path: Path) -> None:
    """A DAG file wires; it has no more than 120 lines and imports nothing heavy while it is parsed."""
    source = path.read_text()
    imported = {
        node.module if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.parse(source).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }

    assert len(source.splitlines()) <= 120
    assert not {name for name in imported if name and name.split(".")[0] in {"pandas", "great_expectations", "psycopg"}}


_PARSE = """
import sys
from airflow.dag_processing.dagbag import DagBag

before = set(sys.modules)
bag = DagBag(sys.argv[1])
assert bag.import_errors == {} and len(bag.dags) > 1, bag.import_errors
print(*sorted({name.split(".")[0] for name in set(sys.modules) - before}))
"""


def test_that_parsing_imports_nothing_heavy(airflow_home: AirflowHome) -> None:
    """The DAG processor parses each file every half minute: what only a task needs is imported by the task."""
    command = [sys.executable, "-W", "ignore", "-c", _PARSE, str(PROJECT_FOLDER / "dags")]
    parsed = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    imported = set(parsed.stdout.split("\n")[-2].split())

    assert "crm_to_meta_airflow" in imported
    assert imported.isdisjoint(
        {"psycopg", "great_expectations", "pandas", "requests", "phonenumbers", "babel", "jinja2"}
    )
