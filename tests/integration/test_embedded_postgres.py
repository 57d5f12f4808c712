"""The embedded PostgreSQL of `make run`, also after a kill or a crash."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from crm_to_meta_demo.embedded_postgres import running_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.thorough  # about the demo, not about the product


PATIENCE_S = 2


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name, since socket paths are limited to 100 characters."""
    with tempfile.TemporaryDirectory(prefix="pg-") as parent:
        yield Path(parent) / "data"


def postmaster(folder: Path) -> psutil.Process:
    """The server's main process."""
    return psutil.Process(int((folder / "postmaster.pid").read_text().split("\n", 1)[0]))


def wal_writer_of(server: psutil.Process) -> psutil.Process:
    """The process that brings to disk what no transaction waits for."""
    (writer,) = (child for child in server.children() if "walwriter" in " ".join(child.cmdline()))
    return writer


def is_alive(process: psutil.Process) -> bool:
    """Say whether a process runs; one that ended may wait to be reaped by whoever started it."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_that_it_keeps_its_data_and_stops(folder: Path) -> None:
    """Data survives a stop, and no process runs in between."""
    with running_postgres(folder) as server:
        server.create_database("kept")
        server.create_database("kept")
        process = postmaster(folder)
    assert not is_alive(process)

    with running_postgres(folder) as server, server.connect("kept") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_that_it_starts_after_it_was_killed_while_an_unlogged_table_was_made(folder: Path) -> None:
    """PostgreSQL's own first start fails then, at what is left of the table (its bug 17731); the second one works."""
    with running_postgres(folder) as server:
        process = postmaster(folder)
        with server.connect() as maker, server.connect() as other:
            maker.execute("CHECKPOINT")
            wal_writer_of(process).suspend()  # so that the end of the transaction is not on disk
            maker.execute("BEGIN")
            maker.execute("CREATE UNLOGGED TABLE staged (name text)")
            other.execute("CREATE TABLE kept (name text)")
            maker.execute("ROLLBACK")
            family = [process, *process.children(recursive=True)]
            for member in family:
                with suppress(psutil.NoSuchProcess):
                    member.kill()
        psutil.wait_procs(family, timeout=PATIENCE_S)

    with running_postgres(folder) as server, server.connect() as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    assert "File exists" in (folder / "log").read_text()


def test_that_it_starts_after_it_was_killed(folder: Path) -> None:
    """A server that was killed with all its connections starts again with its data."""
    with running_postgres(folder) as server:
        server.create_database("kept")
        process = postmaster(folder)
        family = [process, *process.children(recursive=True)]
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(family, timeout=PATIENCE_S)

    with running_postgres(folder) as server, server.connect("kept") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_that_another_programs_process_id_does_not_count(folder: Path) -> None:
    """The process id that a crashed machine left behind may belong to another program now."""
    with running_postgres(folder):
        left = (folder / "postmaster.pid").read_text().split("\n", 1)[1]
    (folder / "postmaster.pid").write_text(f"{os.getpid()}\n{left}")

    with running_postgres(folder) as server, server.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
