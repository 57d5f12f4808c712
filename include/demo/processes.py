"""Processes of `make run` that end with it, also where it was killed: what is left of a killed run is ended first."""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final

import psutil

from demo.environment import LOCAL_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_FOLDER: Final = LOCAL_FOLDER / "processes"
_PATIENCE_S: Final = 20


@contextmanager
def tracked_process(
    name: str, command: Sequence[str], *, environment: Mapping[str, str], log: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command for as long as the block lasts; of each name there is one at a time."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    record = _FOLDER / f"{name}.json"
    if record.exists():
        _end_leftover(json.loads(record.read_text()))
    process = subprocess.Popen(list(command), env=dict(environment), stdout=log, stderr=log)
    record.write_text(json.dumps({"pid": process.pid, "created": psutil.Process(process.pid).create_time()}))
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait()
        record.unlink(missing_ok=True)


def _end_leftover(record: Mapping[str, float]) -> None:
    """End a recorded process with its children, unless its id is another program's by now."""
    try:
        process = psutil.Process(int(record["pid"]))
        if process.create_time() != record["created"]:
            return
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for member in family:
        member.terminate()
    for member in psutil.wait_procs(family, timeout=_PATIENCE_S)[1]:
        member.kill()
