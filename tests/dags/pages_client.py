"""Airflow's own api-server with this project's pages, asked by people of different roles, without a socket."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from httpx import Response
    from starlette.testclient import TestClient

ROOT: Final = "/crm-to-meta"
HOST: Final = "airflow.example"
ROLES: Final = ("viewer", "user", "op", "admin")


@dataclass(slots=True)
class People:
    """Visitors by their role; None is somebody who has not logged in."""

    client: TestClient
    tokens: dict[str, str]

    def get(self, path: str, role: str | None = "viewer") -> Response:
        """Ask for a page."""
        return self.client.get(f"{ROOT}{path}", headers=self._headers(role), follow_redirects=False)

    def post(self, path: str, role: str | None = "op", **headers: str) -> Response:
        """Send a form; by default as a page of Airflow does."""
        sent = {"origin": f"http://{HOST}", "sec-fetch-site": "same-origin", **headers}
        sent = {name.replace("_", "-"): value for name, value in sent.items() if value}
        return self.client.post(f"{ROOT}{path}", headers={**sent, **self._headers(role)}, follow_redirects=False)

    def _headers(self, role: str | None) -> dict[str, str]:
        return {"cookie": f"_token={self.tokens[role]}"} if role else {}


@contextmanager
def visiting(settings: Any) -> Iterator[People]:
    """Start the api-server's app with the simple auth manager.

    Args:
        settings: pytest's monkeypatch, which takes the settings back.
    """
    settings.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", ",".join(f"{role}:{role}" for role in ROLES))
    settings.setenv(
        "AIRFLOW__API_AUTH__JWT_SECRET", "a secret of these tests, long enough for its algorithm to be content"
    )
    settings.setenv("AIRFLOW__API__BASE_URL", "http://localhost:8080")
    settings.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    from airflow.api_fastapi.app import create_app, get_auth_manager, purge_cached_app
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from starlette.testclient import TestClient

    purge_cached_app()
    with TestClient(create_app(apps="core"), base_url=f"http://{HOST}") as client:
        manager: Any = get_auth_manager()
        tokens = {role: manager.generate_jwt(SimpleAuthManagerUser(username=role, role=role)) for role in ROLES}
        yield People(client, tokens)
    purge_cached_app()
