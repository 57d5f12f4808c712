"""Real Airflow in a process of its own: a home below .local, one `airflow dags test`, its log lines in a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from crm_to_meta_demo.environment import LOCAL_FOLDER, PROJECT_FOLDER, RunOptions
from crm_to_meta_demo.processes import tracked_process

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

AIRFLOW_COMMAND: Final = (sys.executable, "-m", "airflow")
AIRFLOW_HOME: Final = LOCAL_FOLDER / "airflow"


def airflow_environment(connections: Mapping[str, str], *, home: Path = AIRFLOW_HOME) -> dict[str, str]:
    """Return the environment that Airflow's commands need: our folders, a SQLite metadata database, connections."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT_FOLDER / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT_FOLDER / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": os.pathsep.join([str(PROJECT_FOLDER / "include"), str(PROJECT_FOLDER / "plugins")]),
        "PYTHONWARNINGS": "ignore",
        "GX_ANALYTICS_ENABLED": "false",
        "CRM_TO_META_RETRIES": "0",  # a person is waiting; run it again to go on
        **connections,
    }


def prepare_metadata_database(environment: Mapping[str, str], log_file: Path) -> None:
    """Create or upgrade Airflow's own database; only after packages changed, since it takes some seconds."""
    home = Path(environment["AIRFLOW_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    marker = home / "migrated"
    version = (PROJECT_FOLDER / "requirements.txt").read_text(encoding="utf-8")
    if marker.exists() and marker.read_text(encoding="utf-8") == version and (home / "airflow.db").exists():
        return
    with log_file.open("ab") as log:
        subprocess.run([*AIRFLOW_COMMAND, "db", "migrate"], env=dict(environment), stdout=log, stderr=log, check=True)
    marker.write_text(version, encoding="utf-8")


@contextmanager
def running_dag(
    options: RunOptions, environment: Mapping[str, str], log_file: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Start `airflow dags test` for the options; its output goes to the log file."""
    conf = {"mode": options.mode.value, "date": options.date, "test_event_code": options.test_event_code}
    given = json.dumps({name: value for name, value in conf.items() if value})
    command = [*AIRFLOW_COMMAND, "dags", "test", options.pipeline.dag_id, "--conf", given]
    with log_file.open("ab") as log, tracked_process("airflow", command, environment=environment, log=log) as process:
        yield process
