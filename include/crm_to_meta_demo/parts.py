"""The two ends of a run: your own warehouse and Meta, or the embedded ones, started and filled."""

from __future__ import annotations

import fcntl
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from crm_to_meta.errors import CrmToMetaError
from crm_to_meta_demo.embedded_postgres import EmbeddedPostgres, running_postgres
from crm_to_meta_demo.environment import LOCAL_FOLDER, RunOptions, meta_connection_json
from crm_to_meta_demo.meta_stand_in.process import running_stand_in_process
from crm_to_meta_demo.sample_crm import build_transitions, deleted_lead_ids, fill_sample_crm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import Console

    from crm_to_meta.warehouse import Connection

WAREHOUSE_DATABASE: Final = "warehouse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Connections for Airflow, and what only embedded parts have."""

    connections: Mapping[str, str]
    stand_in_url: str | None = None
    postgres: EmbeddedPostgres | None = None


def own_connections(options: RunOptions) -> Mapping[str, str]:
    """Return the connections to your own warehouse and Meta, as variables for Airflow."""
    connections = {options.warehouse_variable: options.settings[options.warehouse_variable]}
    if meta := options.meta_connection():
        connections[options.meta_variable] = meta
    return connections


@contextmanager
def open_parts(options: RunOptions, console: Console) -> Iterator[Parts]:
    """Have the parts that the options name ready, for this command alone; what was started stops afterwards."""
    with only_one_at_a_time(), ExitStack() as stack:
        if options.is_embedded:
            yield _embedded_parts(options, stack, console)
        else:
            yield Parts(connections=own_connections(options))


def _embedded_parts(options: RunOptions, stack: ExitStack, console: Console) -> Parts:
    """Start the embedded warehouse and the stand-in, and fill the sample CRM; they stop with the stack."""
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
        postgres=postgres,
    )


@contextmanager
def only_one_at_a_time() -> Iterator[None]:
    """Hold a lock that the operating system gives back when this process ends, however it ends."""
    LOCAL_FOLDER.mkdir(exist_ok=True)
    with (LOCAL_FOLDER / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CrmToMetaError("Another `make run` or `make ui` is at work here; wait for it, or end it.") from None
        yield


def _release_dead_runs(connection: Connection) -> None:
    """Nobody else uses the embedded warehouse, so whatever says it is running was killed."""
    if (row := connection.execute("SELECT to_regclass('capi.run')").fetchone()) and row[0]:
        connection.execute("UPDATE capi.run SET lease_until = now() WHERE state = 'running'")
