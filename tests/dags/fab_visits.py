"""Visits the pages under FAB's auth manager, in a process of its own; prints the status of each visit as JSON.

Arguments: a folder for Airflow's home. The warehouse is the connection in AIRFLOW_CONN_WAREHOUSE; the paths come from
standard input, as JSON with the keys `get` and `post`.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

HOST = "airflow.example"
ROLES = ("Admin", "Op", "User", "Viewer", "Public")
OWN = {"origin": f"http://{HOST}", "sec-fetch-site": "same-origin"}
FOREIGN = {"origin": "http://evil.example"}


def make_tokens(auth_manager: Any, security: Any) -> dict[str, str]:
    """Return a login for each of FAB's roles, and for one that may see Airflow's website and nothing else."""
    security.sync_roles()
    bare = security.add_role("Bare")
    security.add_permission_to_role(bare, security.create_permission("can_read", "Website"))
    roles = {name: security.find_role(name) for name in ROLES} | {"Bare": bare}
    users = {
        name: security.add_user(name.lower(), name, "Test", f"{name.lower()}@example.com", role, password="p")
        for name, role in roles.items()
    }
    return {name: auth_manager.generate_jwt(user) for name, user in users.items()}


def visit(client: Any, tokens: dict[str, str], paths: dict[str, str]) -> dict[str, Any]:
    """Return the status of each request by role; those who may decide come last, since only one decision counts."""
    people: dict[str, dict[str, str]] = {"nobody": {}}
    people |= {role: {"cookie": f"_token={token}"} for role, token in reversed(tokens.items())}
    found: dict[str, Any] = {}
    for path in paths["get"]:
        found[path] = {role: client.get(path, headers=cookie).status_code for role, cookie in people.items()}
    for name, headers in (("foreign", FOREIGN), ("own", OWN)):
        found[name] = {
            role: client.post(paths["post"], headers={**headers, **cookie}, follow_redirects=False).status_code
            for role, cookie in people.items()
        }
    found["overview of Bare"] = client.get("/crm-to-meta/", headers=people["Bare"]).text
    return found


def main() -> None:
    """Start the api-server's app under FAB, visit it, print what it answered."""
    os.environ["AIRFLOW__CORE__AUTH_MANAGER"] = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
    from airflow.utils.db import initdb

    initdb()
    from airflow.api_fastapi.app import create_app, get_auth_manager
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
    from starlette.testclient import TestClient

    paths = json.load(sys.stdin)
    with TestClient(create_app(apps="core"), base_url=f"http://{HOST}") as client, get_application_builder() as builder:
        found = visit(client, make_tokens(get_auth_manager(), builder.sm), paths)
    sys.stdout.write(f"\n{json.dumps(found)}\n")


if __name__ == "__main__":
    main()
