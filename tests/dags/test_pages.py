"""The pages inside Airflow: who may see what, what they say, and that a decision made there is in the ledger."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest
from pages_client import ROLES, ROOT, People, visiting

from crm_to_meta.ledger.schema import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import AirflowHome

    from crm_to_meta.warehouse import Connection
    from crm_to_meta_demo.embedded_postgres import EmbeddedPostgres

pytestmark = [pytest.mark.airflow, pytest.mark.filterwarnings("ignore")]

DAG_ID: Final = "crm_to_meta_conversion_leads"


@pytest.fixture(scope="module")
def people(airflow_home: AirflowHome) -> Iterator[People]:
    """Visitors of one api-server for all tests."""
    with pytest.MonkeyPatch.context() as settings, visiting(settings) as visitors:
        yield visitors


@pytest.fixture
def known_warehouse(
    postgres: EmbeddedPostgres, warehouse: Connection, database: str, monkeypatch: pytest.MonkeyPatch
) -> Connection:
    """The test's own warehouse, known to Airflow; empty."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", postgres.airflow_connection(database))
    return warehouse


def test_smoke(people: People, known_warehouse: Connection) -> None:
    """."""
    for path in ("/", "/card", f"/dags/{DAG_ID}", f"/dags/{DAG_ID}/runs/x", "/static/pages.css", "/dags/foo", "/docs"):
        for role in (None, *ROLES):
            answer = people.get(path, role)
            print(path, role, answer.status_code, answer.headers.get("content-type"))
        print(answer.text[:1500])
    migrate(known_warehouse)
    print(people.get("/").text)
    assert 0
