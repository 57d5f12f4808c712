"""Rounds of chaos: workers are killed and paused, Meta and PostgreSQL fail, and then the laws must hold.

In: a server, a stand-in for Meta, a seed. Out: what happened and which laws were broken. Everything a round does is
drawn from its seed, see scenario.py; how processes interleave is not, so a rare failure may need a few tries.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from multiprocessing import forkserver
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import psutil
from laws import Evidence, find_broken_laws, read_ledger
from psycopg import sql
from scenario import SLOWEST_S, Act, RunPlan, Scenario, draw_scenario
from task_log import CRASHED, STEPS, WAREHOUSE_GONE, Entry, read_log, work, write_log

from crm_to_meta.pipeline import PIPELINES_FOLDER, load_pipeline
from crm_to_meta.warehouse import migrate
from demo.embedded_postgres import EmbeddedPostgres, running_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from multiprocessing.context import ForkServerProcess

    from crm_to_meta.warehouse import Connection
    from demo.meta_stand_in.testing import StandIn

CRM_NAME: Final = "Codex CRM"
EXPIRED_TOKEN: Final = "expired-token"
PATIENCE_S: Final = 40  # for a worker that nothing holds up
LOCK_PATIENCE_S: Final = 0.8  # for a worker that a paused one may hold up
MOST_CLEAN_RUNS: Final = 5
COLUMNS: Final = {
    "transition_id": "text", "lead_id": "text", "stage": "text", "event_time": "timestamptz", "email": "text",
    "phone": "text", "first_name": "text", "opted_out": "boolean",
}  # fmt: skip
HARMLESS_ERRORS: Final = frozenset({  # what a step may raise in a round; anything else is a defect
    "DeliveryIncompleteError", "MetaUnavailableError", "RateLimitedError", "CredentialsError", "RunTakenOverError",
    "StagingLostError", "WarehouseError",
})  # fmt: skip

_processes = multiprocessing.get_context("forkserver")


def start_fork_server() -> None:
    """Start the process that workers are forked from: Great Expectations is imported once, and not by each worker."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(
        path for path in sys.path if path
    )  # it imports before it is told of ours
    _processes.set_forkserver_preload(["worker"])
    try:
        forkserver.ensure_running()
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


class Server:
    """A PostgreSQL server of our own that can be killed; commits survive that, since they are in the kernel's hands."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running = ExitStack()
        self.postgres = self._start()
        with self.postgres.connect() as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("ALTER SYSTEM SET full_page_writes = off")
            connection.execute("SELECT pg_reload_conf()")

    def kill_and_start(self) -> None:
        """Kill -9 the postmaster and its backends, all that it has by then, and start it again."""
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
        """Stop it in order."""
        self._running.close()

    def _start(self) -> EmbeddedPostgres:
        return self._running.enter_context(running_postgres(self._folder))


@dataclass(slots=True)
class Report:
    """What happened in a round, or in many."""

    rounds: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    figures: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def add(self, other: Report) -> None:
        """Count another one's in."""
        self.rounds += other.rounds
        self.kills += other.kills
        self.faults += other.faults
        self.figures += other.figures
        self.errors += other.errors
        self.broken += other.broken


@dataclass(slots=True)
class _DagRun:
    """A DAG run that was begun, and the log of its tasks."""

    plan: RunPlan
    log: Path


class Round:
    """One round: does what its scenario says and judges the outcome."""

    def __init__(
        self, server: Server, database: str, stand_in: StandIn, scenario: Scenario, folder: Path, *, now: datetime
    ) -> None:
        self.report = Report(rounds=1)
        self._server = server
        self._database = database
        self._stand_in = stand_in
        self._scenario = scenario
        self._folder = folder
        self._now = now
        self._midnight = now.replace(hour=0)
        self._runs: list[_DagRun] = []
        self._late = list(scenario.late_rows)
        self._repairs = list(scenario.repairs)

    def play(self) -> Report:
        """Do everything; the broken laws are in the report."""
        self._prepare()
        for act in self._scenario.acts:
            self._do(act)
        self._mend()
        self._run_clean()
        self._judge()
        return self.report

    # What happens -------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        with self._warehouse() as warehouse:
            migrate(warehouse)
            columns = sql.SQL(", ").join(
                sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in COLUMNS.items()
            )
            warehouse.execute("CREATE SCHEMA crm")
            warehouse.execute(sql.SQL("CREATE TABLE crm.lead_stage_transitions ({})").format(columns))
        self._insert(self._scenario.rows)
        self._stand_in.reset()
        self._stand_in.set_settings(
            now_unix_s=int(self._now.timestamp()),
            poisoned_event_ids=self._scenario.poisoned,
            deleted_lead_ids=list(self._scenario.deleted),
        )
        self._stand_in.set_faults(self._scenario.faults)

    def _do(self, act: Act) -> None:
        match act.kind:
            case "run":
                self._work([self._begin(plan) for plan in act.runs], act)
            case "again":
                self._do_again(act)
            case "pause":
                self._pause(act)
            case "late":
                self._insert(self._late)
                self._late = []
            case "repair":
                self._repair()
            case "leases":
                self._end_leases()
            case "clock":
                self._now += timedelta(hours=act.hours)
                self._stand_in.set_settings(now_unix_s=int(self._now.timestamp()))

    def _begin(self, plan: RunPlan) -> _DagRun:
        run = _DagRun(plan, self._folder / f"{plan.dag_run_id}.jsonl")
        self._runs.append(run)
        return run

    def _do_again(self, act: Act) -> None:
        """Take up an earlier DAG run: as Airflow does after its worker died, or as somebody who clears tasks."""
        run = self._runs[int(act.place * len(self._runs))]
        if act.way != "resume":
            cleared = STEPS[STEPS.index(act.way) :]
            write_log(run.log, [entry for entry in read_log(run.log) if entry.step not in cleared])
        kept = {"dag_run_id", "mode", "first_day", "last_day", "is_sweep"}
        changes = {name: value for name, value in asdict(act.runs[0]).items() if name not in kept}
        self._work([_DagRun(replace(run.plan, **changes), run.log)], act)

    def _work(self, runs: Sequence[_DagRun], act: Act) -> None:
        """Let workers work at the same time, until each has ended or died."""
        started = time.monotonic()
        workers = [(self._start(run), run) for run in runs]
        deaths = {id(worker): run.plan.killed_after_s for worker, run in workers if run.plan.killed_after_s is not None}
        postgres_dies_after_s = act.postgres_dies_after_s
        while any(worker.is_alive() for worker, _ in workers):
            elapsed_s = time.monotonic() - started
            if postgres_dies_after_s is not None and elapsed_s > postgres_dies_after_s:
                postgres_dies_after_s = None
                self._server.kill_and_start()
                self.report.kills["postgres"] += 1
            for worker, _ in workers:
                if (after_s := deaths.get(id(worker))) is not None and elapsed_s > after_s:
                    worker.kill()
            if elapsed_s > PATIENCE_S:
                self._give_up(workers)
            time.sleep(0.005)
        for worker, run in workers:
            self._note_end(worker, run)

    def _pause(self, act: Act) -> None:
        """Stop a worker, as a computer that sleeps; meanwhile its task is tried again, or another run works."""
        first, second = act.runs
        run = self._begin(first)
        is_twin = act.way == "twin"
        paused = self._start(run, is_alone=not is_twin)
        self._wait_until_stopped(paused)
        if act.ends_leases and paused.is_alive():
            self._end_leases()
        other = (
            _DagRun(replace(first, fuse=second.fuse, tries=second.tries), run.log) if is_twin else self._begin(second)
        )
        worker = self._start(other)
        worker.join(LOCK_PATIENCE_S)
        if paused.is_alive():
            self.report.kills["paused"] += 1
            psutil.Process(paused.pid).send_signal(signal.SIGCONT)
        for process, of_run in ((paused, run), (worker, other)):
            process.join(PATIENCE_S)
            if process.is_alive():
                self._give_up([(process, of_run)])
            self._note_end(process, of_run)

    def _wait_until_stopped(self, worker: ForkServerProcess) -> None:
        end = time.monotonic() + PATIENCE_S
        while worker.is_alive() and time.monotonic() < end:
            try:
                if psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED:
                    return
            except psutil.NoSuchProcess:
                return
            time.sleep(0.005)

    def _repair(self) -> None:
        """Mend rows at their source; of two with one transition id, one."""
        with self._warehouse() as warehouse:
            for row in self._repairs:
                assignments = sql.SQL(", ").join(
                    sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in row
                )
                statement = sql.SQL(
                    "UPDATE crm.lead_stage_transitions SET {} WHERE ctid = (SELECT min(ctid) "
                    "FROM crm.lead_stage_transitions WHERE transition_id = %(transition_id)s)"
                )
                warehouse.execute(statement.format(assignments), row)
        self._repairs = []

    def _end_leases(self) -> None:
        """Let time pass, as far as leases go; a paused worker may hold the row of its run."""
        with self._warehouse() as warehouse:
            warehouse.execute(
                "UPDATE capi.run SET lease_until = now() - interval '1 second' WHERE run_key IN "
                "(SELECT run_key FROM capi.run WHERE state = 'running' FOR UPDATE SKIP LOCKED)"
            )

    def _mend(self) -> None:
        """Lift all faults; what the stand-in was slow to take has arrived by now."""
        self.report.faults += Counter({_name(fault["fault"]): fault["fired"] for fault in self._stand_in.faults()})
        self._stand_in.clear_faults()
        if any(fault["kind"] == "slow" for fault in self._scenario.faults):
            time.sleep(SLOWEST_S)
        self._insert(self._late)
        self._repair()

    def _run_clean(self) -> None:
        """Daily runs over all rows, until one leaves nothing pending."""
        for number in range(1, MOST_CLEAN_RUNS + 1):
            self._end_leases()
            self._work([self._begin(RunPlan(dag_run_id=f"clean-{number}"))], Act(kind="run"))
            with self._warehouse() as warehouse:
                is_open = warehouse.execute("SELECT FROM capi.delivery WHERE status = 'pending'").fetchone()
                is_running = warehouse.execute("SELECT FROM capi.run WHERE state = 'running'").fetchone()
            if is_open is None and is_running is None:
                return

    # Processes ----------------------------------------------------------------------------------------------------

    def _start(self, run: _DagRun, *, is_alone: bool = True) -> ForkServerProcess:
        settings = self._worker_settings(run, is_alone=is_alone)
        run.log.with_suffix(".settings").write_text(json.dumps(settings))
        worker = _processes.Process(target=work, args=(settings,), daemon=True)
        worker.start()
        return worker

    def _worker_settings(self, run: _DagRun, *, is_alone: bool) -> dict[str, Any]:
        plan = run.plan
        postgres = self._server.postgres
        return {
            "database": f"host={postgres.socket_folder} user=postgres dbname={self._database}",
            "meta": {
                "dataset_id": self._stand_in.dataset_id,
                "crm_name": CRM_NAME,
                "token": EXPIRED_TOKEN if plan.is_token_expired else self._stand_in.token,
                "base_url": self._stand_in.base_url,
            },
            "pipeline": self._scenario.pipeline.model_dump(mode="json"),
            "facts": {
                "dag_run_id": plan.dag_run_id,
                "mode": str(plan.mode),
                "start": (self._midnight - timedelta(days=plan.first_day)).isoformat(),
                "end": (self._midnight - timedelta(days=plan.last_day)).isoformat(),
                "is_sweep": plan.is_sweep,
            },
            "now": self._now.isoformat(),
            "log": str(run.log),
            "fuse": plan.fuse,
            "tries": plan.tries,
            "timeout_s": self._scenario.timeout_s,
            "judges_rows": self._scenario.judges_rows,
            "parallel_shards": plan.parallel_shards,
            "is_alone": is_alone,
        }

    def _note_end(self, worker: ForkServerProcess, run: _DagRun) -> None:
        worker.join()
        self.report.figures["workers"] += 1
        if worker.exitcode == -signal.SIGKILL:
            steps = [entry.step for entry in read_log(run.log)]
            self.report.kills[steps[-1] if steps else "start"] += 1
        elif worker.exitcode == CRASHED or worker.exitcode not in (0, WAREHOUSE_GONE):
            crash = run.log.with_suffix(".crash")
            trace = crash.read_text() if crash.exists() else f"exit code {worker.exitcode}"
            self.report.broken.append(f"worker of {run.plan.dag_run_id} crashed: {trace}")

    def _give_up(self, workers: Sequence[tuple[ForkServerProcess, _DagRun]]) -> None:
        for worker, run in workers:
            if worker.is_alive():
                self.report.broken.append(f"worker of {run.plan.dag_run_id} hangs after {read_log(run.log)[-1:]}")
                worker.kill()
                worker.join()

    # Outcome ------------------------------------------------------------------------------------------------------

    def _judge(self) -> None:
        entries = [entry for run in self._runs for entry in read_log(run.log)]
        self._judge_errors([entry for entry in entries if entry.error])
        live = [entry["event"]["event_id"] for entry in self._stand_in.events() if not entry["test_event_code"]]
        received = Counter(live)
        with self._warehouse() as warehouse:
            ledger = read_ledger(warehouse)
            evidence = Evidence(
                warehouse=warehouse,
                pipeline=self._scenario.pipeline.name,
                received=received,
                hopeless=frozenset(self._scenario.hopeless),
                poisoned=frozenset(self._scenario.poisoned),
                holds_doubts=self._scenario.pipeline.delivery.on_in_doubt == "hold",
                oldest=self._now - self._scenario.pipeline.delivery.max_event_age,
                messages=[entry.message for entry in entries],
                ledger=ledger,
            )
            self.report.broken += find_broken_laws(evidence)
        statuses = Counter(row["status"] for row in ledger.values())
        self.report.figures += statuses
        self.report.figures["resent"] += sum(times - 1 for times in received.values())
        self.report.figures["doubts"] += sum(row["doubts"] for row in ledger.values())
        self.report.figures["runs"] += len(self._runs)

    def _judge_errors(self, failures: Sequence[Entry]) -> None:
        for entry in failures:
            self.report.errors[f"{entry.step}: {entry.error}"] += 1
            if entry.error not in HARMLESS_ERRORS:
                self.report.broken.append(f"{entry.step} raised {entry.error}: {entry.message}")

    # The warehouse ------------------------------------------------------------------------------------------------

    @contextmanager
    def _warehouse(self) -> Iterator[Connection]:
        with self._server.postgres.connect(self._database) as connection:
            yield connection

    def _insert(self, rows: Sequence[dict[str, Any]]) -> None:
        statement = sql.SQL("INSERT INTO crm.lead_stage_transitions ({}) VALUES ({})").format(
            sql.SQL(", ").join(map(sql.Identifier, COLUMNS)), sql.SQL(", ").join(map(sql.Placeholder, COLUMNS))
        )
        with self._warehouse() as warehouse, warehouse.cursor() as cursor:
            cursor.executemany(statement, rows)


def play_round(server: Server, stand_in: StandIn, seed: int, *, now: datetime) -> Report:
    """Play the round of a seed in a database of its own."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    scenario = draw_scenario(seed, load_pipeline(PIPELINES_FOLDER / "conversion_leads.yaml"), midnight=midnight)
    database = f"round_{seed}"
    start_fork_server()
    server.postgres.create_database(database)
    try:
        with TemporaryDirectory(prefix="chaos-") as folder:
            noon = midnight + timedelta(hours=12)
            return Round(server, database, stand_in, scenario, Path(folder), now=noon).play()
    finally:
        with server.postgres.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))


def _name(fault: dict[str, Any]) -> str:
    """Return a fault's kind with what matters of it."""
    code = fault.get("json", {}).get("error", {}).get("code")
    details = [str(detail) for detail in (fault.get("status"), code) if detail is not None]
    return " ".join([fault["kind"], *details, *(["processed"] if fault.get("processed") else [])])
