"""What rounds share: a PostgreSQL server that can be killed, and the process that workers are forked from."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import psutil
from psycopg import sql

from crm_to_meta.ledger.schema import migrate
from crm_to_meta_demo.embedded_postgres import EmbeddedPostgres, running_postgres
from crm_to_meta_demo.meta_stand_in.testing import StandIn, running_stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.context import ForkServerProcess

PATIENCE_S: Final = 120  # for a process that does not wait for another one
_SETTINGS: Final = {  # commits survive a kill nevertheless: the kernel has them by then
    "fsync": "off", "full_page_writes": "off", "autovacuum": "off",
}  # fmt: skip
_TEMPLATE: Final = "template_with_capi"

_processes = multiprocessing.get_context("forkserver")


class Server:
    """A PostgreSQL server that can be killed, and creates empty databases."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running = ExitStack()
        self.postgres = self._start()
        with self.postgres.connect() as connection:
            for name, value in _SETTINGS.items():
                connection.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
            connection.execute("SELECT pg_reload_conf()")
        self.postgres.create_database(_TEMPLATE)
        with self.postgres.connect(_TEMPLATE) as connection:
            migrate(connection)

    @contextmanager
    def database(self, name: str, *, is_empty: bool) -> Iterator[str]:
        """Create a database, with or without the schema `capi`, and drop it afterwards."""
        template = sql.Identifier("template0" if is_empty else _TEMPLATE)
        identifier = sql.Identifier(name)
        with self.postgres.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(identifier, template))
        try:
            yield name
        finally:
            with self.postgres.connect() as connection:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))

    def kill_and_start(self) -> None:
        """Kill the postmaster and all its backends with SIGKILL, and start the server again."""
        postmaster = psutil.Process(int((self._folder / "postmaster.pid").read_text().split("\n", 1)[0]))
        postmaster.suspend()
        family = [postmaster, *postmaster.children(recursive=True)]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=PATIENCE_S)
        self._running.close()
        self.postgres = self._start()

    def stop(self) -> None:
        """Stop the server cleanly."""
        self._running.close()

    def _start(self) -> EmbeddedPostgres:
        return self._running.enter_context(running_postgres(self._folder))


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that a round needs and that the next one uses again."""

    server: Server
    stand_in: StandIn
    gx_memory: Path
    unreachable_url: str


@contextmanager
def running_parts() -> Iterator[Parts]:
    """Start what rounds share. The server's folder has a short name, since the length of socket paths is limited."""
    start_fork_server()
    with (
        TemporaryDirectory(prefix="pg-") as folder,
        TemporaryDirectory(prefix="gx-") as gx_memory,
        running_stand_in() as stand_in,
        _silent_port() as unreachable_url,
    ):
        server = Server(Path(folder) / "data")
        try:
            yield Parts(server=server, stand_in=stand_in, gx_memory=Path(gx_memory), unreachable_url=unreachable_url)
        finally:
            server.stop()


@contextmanager
def _silent_port() -> Iterator[str]:
    """Reserve a port on which nobody listens, so that connections are refused."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{holder.getsockname()[1]}"


def start_fork_server() -> None:
    """Start the process that workers are forked from, so that imports happen once and not in each worker."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)  # it imports before it knows our path
    _processes.set_forkserver_preload(["worker"])
    try:
        forkserver.ensure_running()
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


def fork_worker(target: Any, settings: dict[str, Any]) -> ForkServerProcess:
    """Start a process that calls the target."""
    worker = _processes.Process(target=target, args=(settings,), daemon=True)
    worker.start()
    return worker
