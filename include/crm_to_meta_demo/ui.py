"""`make ui`: Airflow with its web pages on the same parts as `make run`, until Ctrl-C.

Scheduler, api-server, dag-processor and triggerer of `airflow standalone`, with a PostgreSQL metadata database, since
SQLite locks under a scheduler. Everything listens on this computer alone, so nobody has to log in.
"""

from __future__ import annotations

import subprocess
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import requests

from crm_to_meta.errors import ConfigurationError, CrmToMetaError
from crm_to_meta_demo.airflow_process import AIRFLOW_COMMAND, airflow_environment
from crm_to_meta_demo.environment import LOCAL_FOLDER, read_options
from crm_to_meta_demo.parts import Parts, open_parts
from crm_to_meta_demo.processes import tracked_process
from crm_to_meta_demo.run import LOGS_FOLDER
from crm_to_meta_demo.terminal import run_in_terminal

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from crm_to_meta_demo.embedded_postgres import EmbeddedPostgres

HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = "8080"
_START_TIMEOUT_S: Final = 120.0
_METADATA_DATABASE: Final = "airflow"


def main(console: Console) -> int:
    """Start Airflow and wait until it is ended."""
    options = read_options()
    with open_parts(options, console) as parts:
        if parts.postgres is None:
            raise ConfigurationError(
                "`make ui` shows the embedded parts; for your own warehouse and Meta use `docker compose up`."
            )
        _serve(parts, parts.postgres, options.settings.get("UI_PORT") or DEFAULT_PORT, console)
    return 0


def _serve(parts: Parts, postgres: EmbeddedPostgres, port: str, console: Console) -> None:
    postgres.create_database(_METADATA_DATABASE)
    home = LOCAL_FOLDER / "airflow_ui"
    home.mkdir(parents=True, exist_ok=True)
    LOGS_FOLDER.mkdir(parents=True, exist_ok=True)
    log_file = LOGS_FOLDER / f"ui-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.log"
    environment = {
        **airflow_environment(parts.connections, home=home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": (
            f"postgresql+psycopg2://postgres@/{_METADATA_DATABASE}?host={postgres.socket_folder}"
        ),
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": port,
        "AIRFLOW__API__BASE_URL": f"http://{HOST}:{port}",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://{HOST}:{port}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    }
    with log_file.open("ab") as log:
        command = [*AIRFLOW_COMMAND, "standalone"]
        with tracked_process("airflow_ui", command, environment=environment, log=log) as process:
            console.print("Starting Airflow (half a minute) ...")
            url = f"http://{HOST}:{port}"
            _wait_until_healthy(url, process, log_file)
            console.print(f"Airflow:             {url}")
            console.print(f"What Meta received:  {parts.stand_in_url}")
            console.print("Trigger or backfill the DAG there. Ctrl-C ends everything.")
            process.wait()


def _wait_until_healthy(url: str, process: subprocess.Popen[bytes], log_file: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            health = requests.get(f"{url}/api/v2/monitor/health", timeout=5).json()
            if health["scheduler"]["status"] == "healthy":
                return
        except (requests.RequestException, KeyError):
            pass
        time.sleep(0.5)
    raise CrmToMetaError(f"Airflow did not start; see {log_file}. Is another program at {url}? Try UI_PORT=8081.")


if __name__ == "__main__":
    run_in_terminal(main, interrupted="Ended.")
