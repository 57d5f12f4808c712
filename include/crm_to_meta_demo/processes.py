"""Run processes that end with `make run`. A process that a killed run left behind is ended by the next run."""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Final

import psutil

from crm_to_meta_demo.environment import LOCAL_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_FOLDER: Final = LOCAL_FOLDER / "processes"
_PATIENCE_S: Final = 20


@contextmanager
def tracked_process(
    name: str, command: Sequence[str], *, environment: Mapping[str, str], log: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command for as long as the block lasts. There is one process of each name at a time."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    record = _FOLDER / f"{name}.json"
    if record.exists():
        _end(_find_recorded(json.loads(record.read_text())))
    process = subprocess.Popen(list(command), env=dict(environment), stdout=log, stderr=log)
    record.write_text(json.dumps({"pid": process.pid, "created": psutil.Process(process.pid).create_time()}))
    try:
        yield process
    finally:
        _end(_family(psutil.Process(process.pid)) if process.poll() is None else [])
        process.wait()
        record.unlink(missing_ok=True)


def _find_recorded(record: Mapping[str, float]) -> list[psutil.Process]:
    """Return a recorded process with its children, or nothing if its id now belongs to another program."""
    try:
        process = psutil.Process(int(record["pid"]))
        return _family(process) if process.create_time() == record["created"] else []
    except psutil.NoSuchProcess:
        return []


def _family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _end(processes: Sequence[psutil.Process]) -> None:
    """Terminate the processes, and kill those that do not end."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in psutil.wait_procs(processes, timeout=_PATIENCE_S)[1]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
