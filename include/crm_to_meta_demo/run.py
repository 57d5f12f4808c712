"""`make run`: one daily run with real Airflow, and what became of it.

By default on an embedded PostgreSQL with an invented CRM and a stand-in for Meta; on your own warehouse and Meta where
the environment or .env names them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import requests

from crm_to_meta.errors import ConfigurationError
from crm_to_meta.models import TEST_EVENT_CODE_PATTERN, Mode
from crm_to_meta.pipeline.window import resolve_manual_window
from crm_to_meta.report import render_report
from crm_to_meta.report.preview import describe_preview
from crm_to_meta_demo.airflow_process import airflow_environment, prepare_metadata_database, running_dag
from crm_to_meta_demo.environment import LOCAL_FOLDER, RunOptions, read_options
from crm_to_meta_demo.parts import Parts, open_parts
from crm_to_meta_demo.progress import follow
from crm_to_meta_demo.summary import print_summary
from crm_to_meta_demo.terminal import run_in_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import Console

    from crm_to_meta.warehouse import Connection

REPORTS_FOLDER: Final = LOCAL_FOLDER / "reports"
LOGS_FOLDER: Final = LOCAL_FOLDER / "logs"
_TASK_FAILED: Final = "Task failed with exception"  # Airflow's line before each traceback
_ERROR: Final = re.compile(  # class and message, up to what Python or Airflow says next
    r"crm_to_meta\.errors\.(\w+Error: .*"
    r"(?:\n(?!\s*\n|During handling|The above exception|Traceback|end task|\d{4}-\d\d-\d\dT).+)*)"
)


def main(console: Console) -> int:
    """Run the DAG once; return 0 where the run is green, 1 where it is red."""
    options = read_options()
    _check_parameters(options)
    with open_parts(options, console) as parts:
        return _run(options, parts, console)


def _check_parameters(options: RunOptions) -> None:
    """Refuse beforehand what the DAG would refuse: Airflow tells of that in its log alone.

    Raises:
        ConfigurationError: DATE is no day that has ended, or TEST_EVENT_CODE cannot be a test code.
    """
    try:
        resolve_manual_window(options.pipeline, picked_day=options.date, now=datetime.now(UTC))
    except ConfigurationError as error:
        raise ConfigurationError(f"DATE: {error}") from None
    if options.test_event_code and not re.fullmatch(TEST_EVENT_CODE_PATTERN, options.test_event_code):
        raise ConfigurationError(
            "TEST_EVENT_CODE has letters, digits, - and _ alone, 64 at most; copy it from Events Manager, Test events."
        )


def _run(options: RunOptions, parts: Parts, console: Console) -> int:
    LOGS_FOLDER.mkdir(parents=True, exist_ok=True)
    REPORTS_FOLDER.mkdir(parents=True, exist_ok=True)
    log_file = LOGS_FOLDER / f"run-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.log"
    environment = airflow_environment(parts.connections)
    console.print(f"Preparing Airflow; its log lines go to {_shown(log_file)}")
    prepare_metadata_database(environment, log_file)
    with _open_warehouse(options, environment) as warehouse:
        console.print(f"Running the DAG {options.pipeline.dag_id} (mode {options.mode})")
        if options.mode is Mode.TEST:
            console.print(
                f"Note: at most {options.pipeline.delivery.test_events} events go to the dataset, with a test code. "
                "Meta may use them for measurement."
            )
        with running_dag(options, environment, log_file) as process:
            run_key = follow(process, warehouse, options.pipeline.name, log_file, console)
        error = find_first_error(log_file.read_text(encoding="utf-8", errors="replace")) or ""
        if run_key is None:
            _print_failure(error, log_file, console)
            return 1
        print_summary(console, warehouse, run_key, error=error)
        if options.mode is Mode.PREVIEW:
            _print_preview(console, warehouse, run_key, options)
        report = REPORTS_FOLDER / f"{run_key}.html"
        report.write_text(render_report(warehouse, run_key), encoding="utf-8")
    if process.returncode:
        _print_failure(error, log_file, console)
    _print_next_steps(console, options, parts, report)
    return 1 if process.returncode else 0


@contextmanager
def _open_warehouse(options: RunOptions, environment: Mapping[str, str]) -> Iterator[Connection]:
    """Open the warehouse as the DAG will, and check Meta's settings: what is wrong is told before anything runs."""
    os.environ.update(environment)
    from crm_to_meta_airflow.connections import meta_settings, open_warehouse

    meta_settings(options.pipeline.connections.meta, needs_token=options.mode is not Mode.PREVIEW)
    with open_warehouse(options.pipeline.connections.warehouse) as connection:
        yield connection


def _print_preview(console: Console, warehouse: Connection, run_key: str, options: RunOptions) -> None:
    from crm_to_meta_airflow.connections import meta_settings

    settings = meta_settings(options.pipeline.connections.meta, needs_token=False)
    console.print()
    text = describe_preview(warehouse, run_key, events_url=settings.events_url)
    console.print(text, markup=False, soft_wrap=True)  # else the terminal breaks the bytes


def _print_next_steps(console: Console, options: RunOptions, parts: Parts, report: Path) -> None:
    console.print()
    console.print(f"Report of this run:  {_shown(report)}")
    if parts.stand_in_url:
        received = REPORTS_FOLDER / "received-events.html"
        received.write_text(requests.get(parts.stand_in_url, timeout=60).text, encoding="utf-8")
        console.print(f"What Meta received:  {_shown(received)}")
        console.print("Next: `make run` again delivers nothing twice. `make preview` sends nothing. `make ui` opens")
        console.print("      Airflow. Your own warehouse and Meta: copy .env.example to .env and see README.md.")
    elif options.mode is Mode.PREVIEW:
        console.print("Next: `make run` sends what this preview shows as pending.")


def _print_failure(error: str, log_file: Path, console: Console) -> None:
    """Show the error of the task that failed first, which is the cause; the rest of the log stays there."""
    if error:
        console.print(error, style="bold red", markup=False, soft_wrap=True)
    console.print(f"The run is not green; Airflow's log: {_shown(log_file)}")


def find_first_error(log: str) -> str | None:
    """Return class and message of the error that the first failed task ended with, where it is one of this project."""
    _, _, rest = log.partition(_TASK_FAILED)
    of_first_task = rest.partition(_TASK_FAILED)[0]
    found = _ERROR.findall(of_first_task)
    return " ".join(found[-1].split()) if found else None  # the last one: an error may have come of another


def _shown(path: Path) -> str:
    return os.path.relpath(path)


if __name__ == "__main__":
    try:
        run_in_terminal(main, interrupted="Interrupted. Nothing is lost: run it again, and it goes on.")
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(map(str, error.cmd))} ended with {error.returncode}; see {_shown(LOGS_FOLDER)}.")
