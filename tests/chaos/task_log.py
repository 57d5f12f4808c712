"""The log of a DAG run's tasks, which stands for Airflow's own database; light to import, unlike worker.py."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

WAREHOUSE_GONE: Final = 75  # exit code: the database was killed; the run can be taken up again
CRASHED: Final = 70  # exit code: an exception that is none of this project's
STEPS: Final = ("extract", "validate", "transform", "load", "audit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of the log: a task started, ended well with what it hands on, or failed."""

    step: str
    shard_no: int | None
    state: str
    result: Any = None
    error: str = ""
    message: str = ""


def read_log(path: Path) -> list[Entry]:
    """Return the entries of a log; a last line that was cut off never happened."""
    if not path.exists():
        return []
    lines = path.read_text().split("\n")[:-1]
    return [Entry(**json.loads(line)) for line in lines]


def append_entry(path: Path, entry: Entry) -> None:
    """Write a line at once, so that two workers of a DAG run do not mix theirs."""
    with path.open("ab", buffering=0) as file:
        file.write(json.dumps(asdict(entry)).encode() + b"\n")


def write_log(path: Path, entries: Iterable[Entry]) -> None:
    """Write a log anew."""
    path.write_text("".join(json.dumps(asdict(entry)) + "\n" for entry in entries))


def work(settings: dict[str, Any]) -> None:
    """Be a worker: what a new process starts with."""
    from worker import main

    main(settings)
