"""Prints a line for each step of a run as it ends, from the warehouse's own record."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from crm_to_meta.load.progress import describe_progress

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from rich.console import Console

    from crm_to_meta.warehouse import Connection

STEPS: Final = ("extract", "validate", "transform", "load", "audit")
_UNMAPPED_STEPS: Final = {"extract", "validate", "audit"}  # one task each: on record means over
_LOOK_EVERY_S: Final = 0.3
_DAG_RUN_ID: Final = re.compile(r"\bmanual__[0-9T:.+-]+")  # as Airflow names the run of `airflow dags test`
_COUNT_SENT: Final = (
    "SELECT count(*), coalesce(sum(events) FILTER (WHERE outcome = 'delivered'), 0), "
    "(SELECT coalesce(sum(events), 0) FROM capi.chunk WHERE run_key = %(run_key)s) "
    "FROM capi.request WHERE run_key = %(run_key)s"
)


def follow(
    process: subprocess.Popen[bytes], warehouse: Connection, pipeline: str, log_file: Path, console: Console
) -> str | None:
    """Print each step as it ends, until the process does; return the key of its run, None where there is none.

    Others may run the pipeline in the same warehouse at the same time: which run is this process's own is known by the
    id of its DAG run, from its log.
    """
    printed: set[str] = set()
    dag_run_id = run_key = None
    sending = SendingProgress()
    with console.status("starting Airflow ...") as status:
        while True:
            is_over = process.poll() is not None
            dag_run_id = dag_run_id or _read_dag_run_id(log_file)
            if dag_run_id and (run := _find_run(warehouse, pipeline, dag_run_id)):
                run_key, timings = run
                done = _print_ended(timings, printed, console, is_over=is_over)
                step = STEPS[min(done, len(STEPS) - 1)]
                status.update(f"{step} ... {sending.describe(warehouse, run_key)}")
            if is_over:
                return run_key
            time.sleep(_LOOK_EVERY_S)


@dataclass(slots=True)
class SendingProgress:
    """When the first request of the run was seen, from which rate and time left are reckoned."""

    started: float | None = None

    def describe(self, warehouse: Connection, run_key: str) -> str:
        """Return how far sending is, in words; nothing before the first request."""
        requests, answered, events = warehouse.execute(_COUNT_SENT, {"run_key": run_key}).fetchone() or (0, 0, 0)
        if not requests:
            return ""
        self.started = self.started or time.monotonic()
        progress = describe_progress(int(answered), int(events), seconds=time.monotonic() - self.started)
        return f"{progress}, {requests} requests"


def _read_dag_run_id(log_file: Path) -> str | None:
    found = _DAG_RUN_ID.search(log_file.read_text(encoding="utf-8", errors="replace"))
    return found.group() if found else None


def _find_run(warehouse: Connection, pipeline: str, dag_run_id: str) -> tuple[str, dict[str, Any]] | None:
    exists = warehouse.execute("SELECT to_regclass('capi.run') IS NOT NULL").fetchone()
    if not exists or not exists[0]:
        return None
    return warehouse.execute(
        "SELECT run_key, timings FROM capi.run WHERE pipeline = %s AND dag_run_id = %s",
        [pipeline, dag_run_id],
    ).fetchone()


def _print_ended(timings: dict[str, Any], printed: set[str], console: Console, *, is_over: bool) -> int:
    """Print the steps that are over: a step is when a later one has begun. Return how many are."""
    begun = [index for index, step in enumerate(STEPS) if step in timings]
    last = max(begun, default=-1)
    for index, step in enumerate(STEPS):
        is_ended = is_over or index < last or step in _UNMAPPED_STEPS
        if is_ended and step in timings and step not in printed:
            console.print(f"  [green]done[/green]  {step:<10} {float(timings[step]):7.1f} s")
            printed.add(step)
    return last + 1
