"""What crm-to-meta adds to Airflow: its pages (docs/pages.md), and a run's note with what the run came to.

CRM_TO_META_PAGES=off in the environment hides the pages.

Airflow runs this file in each of its processes, so it imports next to nothing: the pages are built where they are asked
for, which is in the api-server alone.
"""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any, Final

from airflow.plugins_manager import AirflowPlugin

ROOT: Final = "crm-to-meta"  # addresses are relative to Airflow's own, which may be served below a path
IS_ON: Final = os.environ.get("CRM_TO_META_PAGES", "").lower() not in {"off", "0", "false"}
NAME: Final = "CRM to Meta"
RUN_PATH: Final = "dags/{DAG_ID}/runs/{RUN_ID}"  # Airflow fills in what is in braces
VIEWS: Final = (
    {"name": "To Meta", "href": f"{ROOT}/", "destination": "nav", "url_route": "crm_to_meta"},
    {"name": NAME, "href": f"{ROOT}/dags/{{DAG_ID}}", "destination": "dag", "url_route": "crm_to_meta_dag"},
    {"name": NAME, "href": f"{ROOT}/{RUN_PATH}", "destination": "dag_run", "url_route": "crm_to_meta_run"},
)
CARD: Final = {
    "name": "CRM to Meta card",
    "bundle_url": f"{ROOT}/static/card.js",
    "destination": "dashboard",
    "url_route": "crm_to_meta_card",
}


class CrmToMetaPlugin(AirflowPlugin):
    """The pages: an overview, a tab on each DAG and DAG run, a card on the home page. The listener: a run's note."""

    name = "crm_to_meta"
    external_views = [*VIEWS] if IS_ON else []
    react_apps = [CARD] if IS_ON else []

    @cached_property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override] # Airflow only reads it
        """Return the app that serves the pages."""
        if not IS_ON:
            return []
        from crm_to_meta_airflow.pages.app import create_app

        return [{"app": create_app(), "url_prefix": f"/{ROOT}", "name": NAME}]

    @cached_property
    def listeners(self) -> list[Any]:  # type: ignore[override]
        """Return the listener that writes notes; it is imported where Airflow asks for it."""
        from crm_to_meta_airflow.listener import NoteListener

        return [NoteListener()]
