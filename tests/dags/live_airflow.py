"""Airflow for real, as processes: scheduler, DAG processor and api-server; asked through its REST API, after a login.

In: connections, a folder, an empty database for its metadata. Out: a client that starts and clears runs and waits for
them. Everything listens on the loopback address and is ended by its id.
"""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import psutil
import requests

from crm_to_meta_demo.airflow_process import AIRFLOW_COMMAND, airflow_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

PATIENCE_S: Final = 600
POLL_S: Final = 0.2
USER: Final = "admin"
ENDED: Final = frozenset({"success", "failed"})
_HASTE: Final = {  # a test waits; what these cost, nobody pays
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "600",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
    "AIRFLOW__CORE__PARALLELISM": "4",
    "AIRFLOW__API__WORKERS": "1",
}
# Great Expectations is imported by the scheduler once, and not by each task that is forked from it.
_SETTINGS_MODULE: Final = """
import sys

if "scheduler" in sys.argv:
    import crm_to_meta.validate.step
"""


@dataclass(slots=True)
class LiveAirflow:
    """A running Airflow, by its REST API."""

    url: str
    password: str
    _session: requests.Session = field(default_factory=requests.Session)

    def log_in(self) -> None:
        """Get a token, as every client has to."""
        answer = self._session.post(
            f"{self.url}/auth/token", json={"username": USER, "password": self.password}, timeout=PATIENCE_S
        )
        answer.raise_for_status()
        self._session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send a request to the REST API and return the JSON of its answer."""
        answer = self._session.request(method, f"{self.url}/api/v2/{path}", json=body, timeout=PATIENCE_S)
        if not answer.ok:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler work on a DAG, as soon as it is known."""
        _wait_until(lambda: self._is_known(dag_id), f"{dag_id} is known")
        self.ask("PATCH", f"dags/{dag_id}", {"is_paused": False})

    def backfill(self, dag_id: str, first: str, last: str, *, again: bool) -> int:
        """Start a backfill and return its id; `again` is what the UI calls "All Runs"."""
        behaviour = "completed" if again else "none"
        period = {"from_date": first, "to_date": last}
        body = {"dag_id": dag_id, **period, "reprocess_behavior": behaviour, "max_active_runs": 3}
        return int(self.ask("POST", "backfills", body)["id"])

    def clear_run(self, dag_id: str, run_id: str) -> None:
        """Clear all tasks of a DAG run."""
        self.ask("POST", f"dags/{dag_id}/dagRuns/{run_id}/clear", {"dry_run": False, "only_failed": False})

    def clear_task(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Clear one task of a DAG run, and nothing that comes after it."""
        body = {"dry_run": False, "only_failed": False, "dag_run_id": run_id, "task_ids": [task_id]}
        self.ask("POST", f"dags/{dag_id}/clearTaskInstances", body)

    def runs(self, dag_id: str, run_type: str | None = None) -> list[dict[str, Any]]:
        """Return the DAG runs, of one type or all."""
        found = self.ask("GET", f"dags/{dag_id}/dagRuns?limit=100")["dag_runs"]
        return [run for run in found if run_type in (None, run["run_type"])]

    def end_backfill(self, number: int) -> None:
        """Close a backfill whose runs have ended: Airflow itself looks for those twice a minute, and takes no other."""
        with suppress(RuntimeError):  # it may have looked just now
            self.ask("PUT", f"backfills/{number}/cancel")
        assert self.ask("GET", f"backfills/{number}")["completed_at"]

    def wait_for_all(self, dag_id: str) -> dict[str, str]:
        """Wait until there is a run and none is left to do; return each run's state."""
        _wait_until(lambda: self._is_idle(dag_id), f"all runs of {dag_id} ended")
        return {run["dag_run_id"]: run["state"] for run in self.runs(dag_id)}

    def _is_known(self, dag_id: str) -> bool:
        with suppress(RuntimeError):
            return bool(self.ask("GET", f"dags/{dag_id}"))
        return False

    def _is_idle(self, dag_id: str) -> bool:
        states = {run["state"] for run in self.runs(dag_id)}
        return bool(states) and states <= ENDED


@contextmanager
def running_airflow(connections: Mapping[str, str], *, metadata_url: str, folder: Path) -> Iterator[LiveAirflow]:
    """Start Airflow and stop it afterwards; its logs are in the folder."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the api-server sets it, too, and may listen here
        holder.bind(("127.0.0.1", 0))  # nobody else is given this port meanwhile
        yield from _run_airflow(connections, holder.getsockname()[1], metadata_url=metadata_url, folder=folder)


def _run_airflow(
    connections: Mapping[str, str], port: int, *, metadata_url: str, folder: Path
) -> Iterator[LiveAirflow]:
    airflow = LiveAirflow(url=f"http://127.0.0.1:{port}", password=secrets.token_hex(8))
    environment = _environment(connections, airflow, metadata_url=metadata_url, folder=folder)
    with (folder / "db.log").open("wb") as log:
        subprocess.run([*AIRFLOW_COMMAND, "db", "migrate"], env=environment, stdout=log, stderr=log, check=True)
    commands = (("api-server", "--port", str(port), "--host", "127.0.0.1"), ("scheduler",), ("dag-processor",))
    with ExitStack() as stack:
        processes = [stack.enter_context(_running(command, environment, folder)) for command in commands]
        _wait_until(lambda: _is_healthy(airflow, processes), f"Airflow is healthy, see {folder}")
        airflow.log_in()
        yield airflow


def _environment(
    connections: Mapping[str, str], airflow: LiveAirflow, *, metadata_url: str, folder: Path
) -> dict[str, str]:
    (folder / "config").mkdir()
    (folder / "config" / "airflow_local_settings.py").write_text(_SETTINGS_MODULE)
    passwords = folder / "passwords.json"
    passwords.write_text(json.dumps({USER: airflow.password}))
    environment = {
        **airflow_environment(connections, home=folder),
        **_HASTE,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata_url,
        "AIRFLOW__API__BASE_URL": airflow.url,
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{airflow.url}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
    }
    return {name: value for name, value in environment.items() if not name.startswith(("COV", "PYTEST"))}


@contextmanager
def _running(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / f"{command[0]}.log").open("wb") as log:
        process = subprocess.Popen([*AIRFLOW_COMMAND, *command], env=dict(environment), stdout=log, stderr=log)
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process with its children at once: nothing of theirs is wanted any more."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        for member in [parent, *parent.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                member.kill()
    process.wait()


def _is_healthy(airflow: LiveAirflow, processes: Sequence[subprocess.Popen[bytes]]) -> bool:
    if any(process.poll() is not None for process in processes):
        raise RuntimeError("A process of Airflow ended by itself.")
    with suppress(requests.RequestException, KeyError, RuntimeError):
        health = airflow.ask("GET", "monitor/health")
        return bool(health["scheduler"]["status"] == "healthy")
    return False


def _wait_until(is_so: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Not after {PATIENCE_S} s: {what}.")
        time.sleep(POLL_S)
