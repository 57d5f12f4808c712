"""The log of a DAG run's tasks, which replaces Airflow's database. Unlike worker.py, it is cheap to import."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

WAREHOUSE_GONE: Final = 75  # exit code: the database was killed; the run can be continued
CRASHED: Final = 70  # exit code: an exception of another kind than this project's own
STEPS: Final = ("extract", "validate", "transform", "load", "audit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of the log: a task started, ended with a result, or failed."""

    step: str
    shard_no: int | None
    state: str
    result: Any = None
    error: str = ""
    message: str = ""


def read_log(path: Path) -> list[Entry]:
    """Return the entries of a log. An incomplete last line is ignored."""
    if not path.exists():
        return []
    lines = path.read_text().split("\n")[:-1]
    return [Entry(**json.loads(line)) for line in lines]


def append_entry(path: Path, entry: Entry) -> None:
    """Append a line in one write, so that the lines of two workers do not mix."""
    with path.open("ab", buffering=0) as file:
        file.write(json.dumps(asdict(entry)).encode() + b"\n")


def write_log(path: Path, entries: Iterable[Entry]) -> None:
    """Replace a log."""
    path.write_text("".join(json.dumps(asdict(entry)) + "\n" for entry in entries))


def work(settings: dict[str, Any]) -> None:
    """Run a worker: the target of a new process."""
    from worker import main

    main(settings)
