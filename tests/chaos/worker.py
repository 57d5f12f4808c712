"""Run the remaining tasks of a DAG run without Airflow, in a process that can be killed at any moment.

Settings come as keyword arguments or as JSON on stdin. A log of tasks replaces Airflow's database: the next worker of
the DAG run repeats each task that the log does not show as ended.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from gx_memory import remembering
from task_log import CRASHED, WAREHOUSE_GONE, Entry, append_entry, read_log

import crm_to_meta.validate.step as validate_module
from crm_to_meta.audit.step import audit
from crm_to_meta.errors import CrmToMetaError, PermanentError
from crm_to_meta.extract.step import extract
from crm_to_meta.load.step import load
from crm_to_meta.meta.client import MetaClient, MetaSettings
from crm_to_meta.models import DagRunFacts, Mode, Shard, Window
from crm_to_meta.pipeline.settings import Pipeline
from crm_to_meta.transform.step import transform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crm_to_meta.meta.answers import Answer
    from crm_to_meta.warehouse import Connection


@dataclass
class Fuse:
    """Sends this process a signal just before or after its n-th statement or request."""

    unit: str = ""
    number: int = 0
    is_after: bool = False
    signal_name: str = "SIGKILL"
    has_blown: bool = False

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._left = self.number

    def burn(self, unit: str, *, is_after: bool) -> None:
        """Count a statement or request, and send the signal if it is the n-th."""
        if (unit, is_after) != (self.unit, self.is_after):
            return
        with self._lock:
            self._left -= 1
            is_due = self._left == 0
        if is_due:
            self.has_blown = True
            os.kill(os.getpid(), signal.Signals[self.signal_name])


class FusedConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that counts its statements on a fuse."""

    fuse = Fuse()

    def execute(self, *arguments: Any, **named: Any) -> Any:
        """Count, execute, count."""
        self.fuse.burn("statement", is_after=False)
        cursor = super().execute(*arguments, **named)
        self.fuse.burn("statement", is_after=True)
        return cursor


class FusedClient(MetaClient):
    """A client that counts its requests on a fuse."""

    fuse = Fuse()

    def send_events(self, body: bytes, *, events: int) -> Answer:
        """Count, send, count."""
        self.fuse.burn("send", is_after=False)
        answer = super().send_events(body, events=events)
        self.fuse.burn("send", is_after=True)
        return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a worker needs to know, in types that JSON has."""

    database: str
    meta: dict[str, str]
    pipeline: dict[str, Any]
    facts: dict[str, Any]
    now: str
    log: str
    fuse: dict[str, Any]
    tries: int = 1
    timeout_s: float = 10
    gx_memory: str = ""  # a folder; empty: run Great Expectations itself each time
    parallel_shards: int = 1
    is_alone: bool = True  # false: another worker continues this DAG run, and Airflow ignores the results of this one


class _HasLeftError(Exception):
    """Airflow gave this worker up while it was paused: it ends its task and starts no other."""


class Worker:
    """Runs the unfinished tasks of a DAG run in order, except those that depend on a failed one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pipeline = Pipeline.model_validate(settings.pipeline)
        self._facts = read_facts(settings.facts)
        self._now = datetime.fromisoformat(settings.now)
        self._log = Path(settings.log)
        self._fuse = Fuse(**settings.fuse)
        FusedConnection.fuse = FusedClient.fuse = self._fuse
        if settings.gx_memory:
            check_table = remembering(validate_module.check_table, Path(settings.gx_memory), settings.database)
            validate_module.check_table = check_table
        entries = read_log(self._log)
        self._begun = {(entry.step, entry.shard_no) for entry in entries}
        self._ended = {(entry.step, entry.shard_no): entry for entry in entries if entry.state in ("done", "failed")}

    def work(self) -> None:
        """Run what is left of extract, validate, transform, load and audit."""
        run_key = self._attempt("extract", None, self._extract)
        if run_key is None:
            return
        shards = self._attempt("validate", None, lambda connection: self._validate(connection, run_key)) or []
        with ThreadPoolExecutor(self._settings.parallel_shards) as pool:
            list(pool.map(self._deliver, shards))
        self._attempt("audit", None, lambda connection: self._audit(connection, run_key))

    def _deliver(self, shard_numbers: dict[str, Any]) -> None:
        shard = Shard(**shard_numbers)
        is_ready = self._attempt("transform", shard.shard_no, lambda connection: self._transform(connection, shard))
        if is_ready and self._facts.mode is not Mode.PREVIEW:
            self._attempt("load", shard.shard_no, lambda connection: self._load(connection, shard))

    def _attempt(self, step: str, shard_no: int | None, do: Callable[[Connection], Any]) -> Any:
        """Run a task with its tries; return its result, or None if it failed."""
        if ended := self._ended.get((step, shard_no)):
            return ended.result
        for try_no in range(1, self._settings.tries + 1):
            self._note(Entry(step=step, shard_no=shard_no, state="started"))
            try:
                with self._connected() as connection:
                    result = do(connection)
            except CrmToMetaError as error:
                is_last = isinstance(error, PermanentError) or try_no == self._settings.tries
                state = "failed" if is_last else "retried"
                self._note(
                    Entry(step=step, shard_no=shard_no, state=state, error=type(error).__name__, message=str(error))
                )
                if is_last:
                    return None
                self._begun.add((step, shard_no))
            else:
                self._note(Entry(step=step, shard_no=shard_no, state="done", result=result))
                return result
        return None

    def _note(self, entry: Entry) -> None:
        if self._fuse.has_blown and not self._settings.is_alone:
            raise _HasLeftError
        append_entry(self._log, entry)

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with FusedConnection.connect(self._settings.database, autocommit=True) as connection:
            yield connection

    def _extract(self, connection: Connection) -> str:
        return extract(connection, self._pipeline, self._facts, now=self._now).run_key

    def _validate(self, connection: Connection, run_key: str) -> list[dict[str, Any]]:
        shards = validate_module.validate(connection, self._pipeline, run_key=run_key, now=self._now).shards
        return [asdict(shard) for shard in shards]

    def _transform(self, connection: Connection, shard: Shard) -> bool:
        crm_name, code = self._settings.meta["crm_name"], self._facts.test_event_code
        transform(connection, self._pipeline, shard, crm_name=crm_name, test_event_code=code)
        return True

    def _load(self, connection: Connection, shard: Shard) -> bool:
        with FusedClient(MetaSettings(**self._settings.meta), timeout_s=self._settings.timeout_s) as client:
            load(
                connection,
                self._pipeline,
                shard,
                client,
                mode=self._facts.mode,
                sleep=lambda _: None,
                now=lambda: self._now,
                clears_stop=("load", shard.shard_no) in self._begun,
            )
        return True

    def _audit(self, connection: Connection, run_key: str) -> bool:
        audit(connection, self._pipeline, run_key=run_key, now=self._now)
        return True


def read_facts(facts: dict[str, Any]) -> DagRunFacts:
    """Return the facts of a DAG run from JSON."""
    start, end = (datetime.fromisoformat(facts[name]) for name in ("start", "end"))
    return DagRunFacts(
        dag_run_id=facts["dag_run_id"],
        run_type="scheduled" if facts["is_sweep"] else "backfill",
        mode=Mode(facts["mode"]),
        window=Window(start=start, end=end, is_sweep=facts["is_sweep"]),
        test_event_code="TEST1" if facts["mode"] == Mode.TEST else None,
    )


def main(settings: dict[str, Any]) -> None:
    """Run a worker, and exit with a code that says how it ended."""
    try:
        Worker(Settings(**settings)).work()
    except _HasLeftError:
        pass
    except psycopg.OperationalError:
        os._exit(WAREHOUSE_GONE)
    except BaseException:  # noqa: BLE001 - the harness has to learn of any failure
        Path(settings["log"]).with_suffix(".crash").write_text(traceback.format_exc())
        os._exit(CRASHED)


gc.freeze()  # the fork server imports this; its workers then share this memory

if __name__ == "__main__":
    main(json.load(sys.stdin))
