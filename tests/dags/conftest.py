"""Airflow for the tests of this folder: a home of its own with a SQLite metadata database, the DAGs loaded once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from crm_to_meta_demo.airflow_process import airflow_environment
from crm_to_meta_demo.environment import meta_connection_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from crm_to_meta.warehouse import Connection
    from crm_to_meta_demo.embedded_postgres import EmbeddedPostgres
    from crm_to_meta_demo.meta_stand_in.testing import StandIn


@dataclass(frozen=True, slots=True)
class AirflowHome:
    """Where Airflow keeps its metadata and logs, and the DAGs it found."""

    folder: Path
    dag_bag: Any


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowHome]:
    """Set Airflow up before anything imports it; its settings stay for the session."""
    folder = tmp_path_factory.mktemp("airflow")
    before = dict(os.environ)
    os.environ.update(airflow_environment({}, home=folder))
    from airflow.dag_processing.dagbag import DagBag
    from airflow.utils.db import initdb

    initdb()
    yield AirflowHome(folder, DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"]))
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def run_dag(
    airflow_home: AirflowHome,
    postgres: EmbeddedPostgres,
    warehouse: Connection,
    database: str,
    stand_in: StandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Any]:
    """Run the DAG once with `dag.test()` on the test's warehouse and stand-in; return the DAG run."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", postgres.airflow_connection(database))
    meta = meta_connection_json({}, token=stand_in.token, base_url=stand_in.base_url)
    monkeypatch.setenv("AIRFLOW_CONN_META_CAPI", meta)

    def run(dag_id: str = "crm_to_meta_conversion_leads", **conf: Any) -> Any:
        every = {"mode": "live", "date": None, "test_event_code": None, **conf}  # dag.test() keeps those of the last
        return airflow_home.dag_bag.dags[dag_id].test(run_conf=every)

    return run
