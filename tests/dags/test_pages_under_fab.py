"""The pages under FAB's auth manager. The provider is not among the locked packages (docs/pages.md): mostly skipped."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pages_client import ROOT
from test_pages import PAGES, SETTLE, add_run

from crm_to_meta.ledger.schema import migrate
from crm_to_meta_demo.airflow_process import airflow_environment

if TYPE_CHECKING:
    from crm_to_meta.warehouse import Connection
    from crm_to_meta_demo.embedded_postgres import EmbeddedPostgres

FAB = "apache-airflow-providers-fab"  # looked for by its name, since importing it would import Airflow with it
pytestmark = [
    pytest.mark.airflow,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(not list(importlib.metadata.distributions(name=FAB)), reason=f"{FAB} is not installed"),
]

SCRIPT = Path(__file__).parent / "fab_visits.py"


def test_rights_under_fab(postgres: EmbeddedPostgres, warehouse: Connection, database: str, tmp_path: Path) -> None:
    """FAB's roles see and decide what docs/pages.md says; who may see the website alone sees no pipeline."""
    migrate(warehouse)
    add_run(warehouse)
    environment = airflow_environment({"AIRFLOW_CONN_WAREHOUSE": postgres.airflow_connection(database)}, home=tmp_path)
    secrets = {"AIRFLOW__API_AUTH__JWT_SECRET": "x" * 64, "AIRFLOW__API__SECRET_KEY": "y" * 32}
    process = subprocess.run(
        [sys.executable, "-W", "ignore", SCRIPT],
        env={**environment, **secrets, "_AIRFLOW_PROCESS_CONTEXT": "server"},
        input=json.dumps({"get": [f"{ROOT}{path}" for path in PAGES], "post": f"{ROOT}{SETTLE}"}),
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(process.stdout.strip().splitlines()[-1])

    sees = {"nobody": 401, "Public": 403, "Viewer": 200, "User": 200, "Op": 200, "Admin": 200}
    for path in PAGES:
        of_a_dag = path.startswith("/dags/")
        assert found[f"{ROOT}{path}"] == {**sees, "Bare": 403 if of_a_dag else 200}
    assert "conversion_leads" not in found["overview of Bare"]
    assert set(found["foreign"].values()) == {401, 403}
    assert found["own"] == {**sees, "Bare": 403, "Viewer": 403, "User": 303, "Op": 303, "Admin": 303}
    assert warehouse.execute("SELECT decided_by FROM capi.decision").fetchall() == [("user",)]
