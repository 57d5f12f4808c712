"""`make run`: one daily run with real Airflow, and what became of it.

By default on an embedded PostgreSQL with an invented CRM and a stand-in for Meta; on your own warehouse and Meta where
the environment or .env names them.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import requests
from rich.console import Console

from crm_to_meta.errors import CrmToMetaError
from crm_to_meta.models import Mode
from demo.airflow_process import airflow_environment, prepare_metadata_database, running_dag
from demo.embedded_postgres import running_postgres
from demo.environment import LOCAL_FOLDER, RunOptions, meta_connection_json, read_options
from demo.meta_stand_in.process import running_stand_in_process
from demo.progress import follow
from demo.sample_crm import build_transitions, deleted_lead_ids, fill_sample_crm
from demo.summary import print_summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from crm_to_meta.warehouse import Connection

WAREHOUSE_DATABASE: Final = "warehouse"
REPORTS_FOLDER: Final = LOCAL_FOLDER / "reports"
LOGS_FOLDER: Final = LOCAL_FOLDER / "logs"
_PLAIN_WIDTH: Final = 110  # of output that goes to a file


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The two ends of a run: connections for Airflow, and the stand-in's page where there is one."""

    connections: Mapping[str, str]
    stand_in_url: str | None


def main() -> int:
    """Run the DAG once; return 0 where the run is green, 1 where it is red, 2 where it could not start."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
    try:
        options = read_options()
        with _only_one_at_a_time(), ExitStack() as stack:
            parts = _own_parts(options) or _embedded_parts(options, stack, console)
            return _run(options, parts, console)
    except CrmToMetaError as error:
        console.print(f"[bold red]{type(error).__name__}[/bold red]: {error}", soft_wrap=True)
        return 2


def _run(options: RunOptions, parts: Parts, console: Console) -> int:
    LOGS_FOLDER.mkdir(parents=True, exist_ok=True)
    log_file = LOGS_FOLDER / f"run-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.log"
    environment = airflow_environment(parts.connections)
    console.print(f"Preparing Airflow; its log lines go to {_shown(log_file)}")
    prepare_metadata_database(environment, log_file)
    with _open_warehouse(options, environment) as warehouse:
        console.print(f"Running the DAG {options.pipeline.dag_id} (mode {options.mode})")
        with running_dag(options, environment, log_file) as process:
            run_key = follow(process, warehouse, options.pipeline.name, console)
        if run_key is None:
            console.print("[bold red]The run did not get as far as staging rows.[/bold red]")
            _print_error(log_file, console)
            return 1
        print_summary(console, warehouse, run_key)
        report = _write_report(warehouse, run_key)
    if process.returncode:
        _print_error(log_file, console)
    _print_next_steps(console, options, parts, report)
    return 1 if process.returncode else 0


def _own_parts(options: RunOptions) -> Parts | None:
    """Return the connections of your own warehouse and Meta, where you gave them."""
    if options.is_embedded:
        return None
    connections = {options.warehouse_variable: options.settings[options.warehouse_variable]}
    if meta := options.meta_connection():
        connections[options.meta_variable] = meta
    return Parts(connections=connections, stand_in_url=None)


def _embedded_parts(options: RunOptions, stack: ExitStack, console: Console) -> Parts:
    """Start the embedded warehouse and the stand-in, and fill the sample CRM."""
    console.print("Starting the embedded PostgreSQL and the stand-in for Meta (nothing leaves this computer)")
    postgres = stack.enter_context(running_postgres(LOCAL_FOLDER / "postgres"))
    postgres.create_database(WAREHOUSE_DATABASE)
    today = datetime.now(UTC).date()
    with postgres.connect(WAREHOUSE_DATABASE) as connection:
        added = fill_sample_crm(connection, today)
        _release_dead_runs(connection)
    console.print(f"Sample CRM (invented people): {added:,} new stage changes")
    stand_in = stack.enter_context(running_stand_in_process(LOCAL_FOLDER / "stand_in"))
    stand_in.set_settings(deleted_lead_ids=deleted_lead_ids(build_transitions(today)))
    meta = meta_connection_json({}, token=stand_in.token, base_url=stand_in.base_url)
    warehouse = postgres.airflow_connection(WAREHOUSE_DATABASE)
    return Parts(
        connections={options.warehouse_variable: warehouse, options.meta_variable: meta},
        stand_in_url=stand_in.base_url,
    )


def _release_dead_runs(connection: Connection) -> None:
    """This is the only run of the embedded warehouse, so whatever says it is running was killed."""
    if (row := connection.execute("SELECT to_regclass('capi.run')").fetchone()) and row[0]:
        connection.execute("UPDATE capi.run SET lease_until = now() WHERE state = 'running'")


@contextmanager
def _open_warehouse(options: RunOptions, environment: Mapping[str, str]) -> Iterator[Connection]:
    """Open the warehouse as the DAG will, and check Meta's settings: what is wrong is told before anything runs."""
    os.environ.update(environment)
    from crm_to_meta_airflow.connections import meta_settings, open_warehouse

    meta_settings(options.pipeline.connections.meta, needs_token=options.mode is not Mode.PREVIEW)
    with open_warehouse(options.pipeline.connections.warehouse) as connection:
        yield connection


def _write_report(warehouse: Connection, run_key: str) -> Path:
    from crm_to_meta.report import render_report

    REPORTS_FOLDER.mkdir(parents=True, exist_ok=True)
    report = REPORTS_FOLDER / f"{run_key}.html"
    report.write_text(render_report(warehouse, run_key), encoding="utf-8")
    return report


def _print_next_steps(console: Console, options: RunOptions, parts: Parts, report: Path) -> None:
    console.print()
    console.print(f"Report of this run:  {_shown(report)}")
    if parts.stand_in_url:
        received = REPORTS_FOLDER / "received-events.html"
        received.write_text(requests.get(parts.stand_in_url, timeout=60).text, encoding="utf-8")
        console.print(f"What Meta received:  {_shown(received)}")
        console.print("Next: `make run` again delivers nothing twice; `make preview` sends nothing; your own warehouse")
        console.print("      and Meta: copy .env.example to .env (README.md, Own warehouse and Meta).")
    elif options.mode is Mode.PREVIEW:
        console.print("Next: `make run` sends what this preview shows as pending.")


def _print_error(log_file: Path, console: Console) -> None:
    """Show the sentence of the first error in the log; the rest of it stays there."""
    errors = [line for line in log_file.read_text(errors="replace").splitlines() if "crm_to_meta.errors." in line]
    for line in dict.fromkeys(
        line[line.index("crm_to_meta.errors.") + len("crm_to_meta.errors.") :] for line in errors
    ):
        console.print(f"[bold red]{line}[/bold red]", soft_wrap=True, markup=True)
    console.print(f"Airflow's log: {_shown(log_file)}")


@contextmanager
def _only_one_at_a_time() -> Iterator[None]:
    """Hold a lock that the operating system gives back when this process ends, however it ends."""
    LOCAL_FOLDER.mkdir(exist_ok=True)
    with (LOCAL_FOLDER / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CrmToMetaError("Another `make run` is at work here; wait for it, or end it.") from None
        yield


def _shown(path: Path) -> str:
    return os.path.relpath(path)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(map(str, error.cmd))} ended with {error.returncode}; see {LOGS_FOLDER}.")
    except KeyboardInterrupt:
        sys.exit("Interrupted. Nothing is lost: run it again, and it goes on.")
