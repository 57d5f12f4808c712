"""Play rounds of chaos: workers are killed and paused, Meta and PostgreSQL fail, and in the end the laws must hold.

All that a round does is drawn from its seed (scenario.py), except how processes interleave: a rare failure may need a
few tries to occur again. The report says what happened and which laws were broken.
"""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import psutil
from crm import Crm
from laws import Evidence, Ledger, find_broken_laws, find_broken_meanwhile, find_early_ends, read_ledger
from scenario import SLOWEST_S, Act, RunPlan, Scenario, draw_scenario
from servers import PATIENCE_S, fork_worker
from task_log import CRASHED, STEPS, WAREHOUSE_GONE, Entry, read_log, work, write_log

from crm_to_meta.ledger.schema import migrate
from crm_to_meta.models import Mode
from crm_to_meta.pipeline.settings import PIPELINES_FOLDER, load_pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from multiprocessing.context import ForkServerProcess

    from servers import Parts

    from crm_to_meta.warehouse import Connection

CRM_NAME: Final = "Codex CRM"
EXPIRED_TOKEN: Final = "expired-token"
POLL_S: Final = 0.005
STUCK_S: Final = 60.0  # for a worker that is watched while another one is paused
MOST_CLEAN_RUNS: Final = 5
GX_EVERY: Final = 10  # every tenth round runs Great Expectations itself, see gx_memory.py
HARMLESS_ERRORS: Final = frozenset({  # errors that a step may raise in a round; any other is a defect
    "DeliveryIncompleteError", "MetaUnavailableError", "RateLimitedError", "CredentialsError", "RunTakenOverError",
    "HeldElsewhereError", "StagingLostError", "WarehouseError",
})  # fmt: skip
_COUNT_HELD: Final = """
    SELECT count(*) FROM capi.delivery AS known JOIN capi.run AS owner USING (run_key)
    WHERE known.pipeline = %s AND known.status IN ('pending', 'in_doubt') AND owner.state = 'running'
        AND owner.lease_until > now() AND owner.dag_run_id <> %s AND known.event_time >= %s AND known.event_time < %s
"""
_OPEN: Final = "SELECT FROM capi.delivery WHERE status = 'pending' OR (status = 'in_doubt' AND %s)"
_IN_TRANSACTION: Final = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND (xact_start IS NOT NULL OR state = 'active')
"""
_WAITING: Final = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@dataclass(slots=True)
class Report:
    """What happened in one or several rounds."""

    rounds: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    acts: Counter[str] = field(default_factory=Counter)
    figures: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def add(self, other: Report) -> None:
        """Add the counts of another report."""
        self.rounds += other.rounds
        self.kills += other.kills
        self.faults += other.faults
        self.acts += other.acts
        self.figures += other.figures
        self.errors += other.errors
        self.broken += other.broken


@dataclass(slots=True)
class _DagRun:
    """A DAG run that was started, and the log of its tasks."""

    plan: RunPlan
    log: Path


class Round:
    """A round: plays its scenario and checks the outcome."""

    def __init__(self, parts: Parts, database: str, scenario: Scenario, folder: Path, *, now: datetime) -> None:
        self.report = Report(rounds=1)
        self._parts = parts
        self._database = database
        self._scenario = scenario
        self._folder = folder
        self._began = self._now = now
        self._midnight = now.replace(hour=0)
        self._runs: list[_DagRun] = []
        self._crm = Crm(scenario.pipelines[0].source.event_time_type)
        self._versions = [
            [pipeline] for pipeline in scenario.pipelines
        ]  # of each pipeline's file; the last one is current
        self._ledger: Ledger = {}
        self._looked_at = now - timedelta(days=1)  # by the PostgreSQL server's clock
        self._timeout_s: float = scenario.timeout_s
        self._resends = scenario.pipelines[0].delivery.on_in_doubt == "resend"

    def play(self) -> Report:
        """Play the round; return the report with the broken laws."""
        self._prepare()
        for act in self._scenario.acts:
            self.report.acts[act.kind] += 1
            self._do(act)
            self._look(act)
        self._lift_faults()
        self._run_clean()
        self._judge()
        return self.report

    # What happens -------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        with self._warehouse() as warehouse:
            self._crm.create(warehouse)
            self._crm.insert(warehouse, self._scenario.rows)
        stand_in = self._parts.stand_in
        stand_in.reset()
        stand_in.set_settings(
            now_unix_s=int(self._now.timestamp()),
            poisoned_event_ids=self._scenario.poisoned,
            deleted_lead_ids=self._scenario.deleted,
        )
        stand_in.set_faults(self._scenario.faults)

    def _do(self, act: Act) -> None:
        match act.kind:
            case "run":
                self._work([self._begin(plan) for plan in act.runs], act)
            case "again":
                self._do_again(act)
            case "pause":
                self._pause(act)
            case "late" | "edit":
                self._change_crm(act)
            case "remap":
                self._remap(act)
            case "leases":
                self._end_leases()
            case "clock":
                self._now += timedelta(hours=act.hours)
                self._parts.stand_in.set_settings(now_unix_s=int(self._now.timestamp()))

    def _begin(self, plan: RunPlan) -> _DagRun:
        run = _DagRun(plan, self._folder / f"{plan.dag_run_id}.jsonl")
        self._runs.append(run)
        return run

    def _do_again(self, act: Act) -> None:
        """Continue an earlier DAG run, as Airflow does after a worker died, or repeat tasks of it that were cleared."""
        run = self._runs[int(act.place * len(self._runs))]
        if act.way != "resume":
            later = STEPS[STEPS.index(act.way) :]
            cleared = later if act.with_later_steps else later[:1]
            write_log(run.log, [entry for entry in read_log(run.log) if entry.step not in cleared])
        kept = {"dag_run_id", "pipeline", "mode", "first_day", "last_day", "is_sweep"}
        changes = {name: value for name, value in asdict(act.runs[0]).items() if name not in kept}
        self._work([_DagRun(replace(run.plan, **changes), run.log)], act)

    def _work(self, runs: Sequence[_DagRun], act: Act) -> None:
        """Run workers at the same time until each has ended or died."""
        began = time.monotonic()
        waiting = sorted(runs, key=lambda run: run.plan.starts_after_s)
        workers: list[tuple[ForkServerProcess, _DagRun, float]] = []
        meanwhile, postgres_dies_after_s = act.meanwhile, act.postgres_dies_after_s
        while waiting or any(worker.is_alive() for worker, _, _ in workers):
            elapsed_s = time.monotonic() - began
            while waiting and elapsed_s >= waiting[0].plan.starts_after_s:
                run = waiting.pop(0)
                workers.append((self._start(run), run, elapsed_s))
            if postgres_dies_after_s is not None and elapsed_s > postgres_dies_after_s:
                postgres_dies_after_s = None
                self._parts.server.kill_and_start()
                self.report.kills["postgres"] += 1
            if meanwhile is not None and elapsed_s > act.meanwhile_after_s:
                self._change_crm(meanwhile)
                meanwhile = None
            for worker, run, started_s in workers:
                if run.plan.killed_after_s is not None and elapsed_s > started_s + run.plan.killed_after_s:
                    worker.kill()
            if elapsed_s > PATIENCE_S:
                self._give_up([(worker, run) for worker, run, _ in workers])
            wait([worker.sentinel for worker, _, _ in workers if worker.is_alive()], POLL_S)
        if meanwhile is not None:
            self._change_crm(meanwhile)
        for worker, run, _ in workers:
            self._note_end(worker, run)

    def _pause(self, act: Act) -> None:
        """Pause a worker, like a computer that sleeps. Meanwhile its task is tried again, or another run works."""
        first, second = act.runs
        run = self._begin(first)
        is_twin = act.way == "twin"
        paused = self._start(run, is_alone=not is_twin)
        self._wait_until_at_rest(paused)
        if act.ends_leases and paused.is_alive():
            self._end_leases()
        other = (
            _DagRun(replace(first, fuse=second.fuse, tries=second.tries), run.log) if is_twin else self._begin(second)
        )
        held = self._count_held(other) if not is_twin and not act.ends_leases and _is_stopped(paused) else None
        worker = self._start(other)
        self._wait_until_at_rest(worker)
        if held is not None:
            self._compare_held(other, held)
        for process in (paused, worker):
            if process.is_alive():
                self.report.kills["paused"] += 1
                psutil.Process(process.pid).send_signal(signal.SIGCONT)
                self._wait_until_at_rest(process)
        self._let_end([(paused, run), (worker, other)])

    def _let_end(self, workers: Sequence[tuple[ForkServerProcess, _DagRun]]) -> None:
        """Wait until workers have ended, and resume those that a fuse pauses only now, after waiting for a lock."""
        end = time.monotonic() + PATIENCE_S
        while any(worker.is_alive() for worker, _ in workers) and time.monotonic() < end:
            for worker, _ in workers:
                with suppress(psutil.NoSuchProcess):
                    process = psutil.Process(worker.pid)
                    if process.status() == psutil.STATUS_STOPPED:
                        process.resume()
            time.sleep(POLL_S)
        self._give_up(workers)
        for worker, run in workers:
            self._note_end(worker, run)

    def _wait_until_at_rest(self, worker: ForkServerProcess) -> None:
        """Return when a worker has ended, was paused by its fuse, or waits for the lock of another one."""
        end = time.monotonic() + STUCK_S
        with self._warehouse() as warehouse:
            while time.monotonic() < end:
                worker.join(POLL_S)
                if not worker.is_alive() or warehouse.execute(_WAITING).fetchall()[0][0]:
                    return
                if _is_stopped(worker):
                    return

    def _count_held(self, run: _DagRun) -> int | None:
        """Return how many transitions a run has to leave to others; None where that cannot be told."""
        start, end = self._window(run.plan)
        pipeline = self._versions[run.plan.pipeline][-1].name
        with self._warehouse() as warehouse:
            if run.plan.mode is not Mode.LIVE or warehouse.execute(_IN_TRANSACTION).fetchall()[0][0]:
                return None
            found = warehouse.execute(_COUNT_HELD, [pipeline, run.plan.dag_run_id, start, end]).fetchall()
            return int(found[0][0])

    def _compare_held(self, run: _DagRun, expected: int) -> None:
        query = "SELECT held FROM capi.run WHERE dag_run_id = %s AND pass_no = 1"
        with self._warehouse() as warehouse:
            row = warehouse.execute(query, [run.plan.dag_run_id]).fetchone()
        if row is not None:
            self.report.figures["held counts compared"] += 1
            if row[0] != expected:
                self.report.broken.append(f"held: {run.plan.dag_run_id} says {row[0]}, others held {expected}")

    def _change_crm(self, act: Act) -> None:
        """Insert late rows and edit others."""
        with self._warehouse() as warehouse:
            self._crm.insert(warehouse, act.rows)
            self._crm.edit(warehouse, act.changes)

    def _remap(self, act: Act) -> None:
        """Change the pipeline file. The next task that starts reads it."""
        versions = self._versions[act.pipeline]
        versions.append(type(versions[-1]).model_validate({**versions[-1].model_dump(), **act.settings}))

    def _end_leases(self) -> None:
        """Let all leases expire, except of runs whose row a paused worker has locked."""
        with self._warehouse() as warehouse:
            migrate(warehouse)  # a round may start without the schema
            warehouse.execute(
                "UPDATE capi.run SET lease_until = now() - interval '1 second' WHERE run_key IN "
                "(SELECT run_key FROM capi.run WHERE state = 'running' FOR UPDATE SKIP LOCKED)"
            )

    def _look(self, act: Act) -> None:
        """Check the laws that hold whenever no worker is running."""
        with self._warehouse() as warehouse:
            migrate(warehouse)
            ledger = read_ledger(warehouse)
            was_dry = act.kind == "run" and act.runs != () and all(plan.mode is not Mode.LIVE for plan in act.runs)
            broken = [
                *find_broken_meanwhile(warehouse, self._ledger, ledger, was_dry=was_dry),
                *find_early_ends(warehouse, self._ledger, ledger, since=self._looked_at),
            ]
            (self._looked_at,) = warehouse.execute("SELECT clock_timestamp()").fetchall()[0]
        self.report.broken += [f"after {act.kind}: {line}" for line in broken]
        self._ledger = ledger

    def _lift_faults(self) -> None:
        """Lift all faults and the pauses that Meta asked for, and wait for the stand-in's slow requests."""
        stand_in = self._parts.stand_in
        self.report.faults += Counter({_name(fault["fault"]): fault["fired"] for fault in stand_in.faults()})
        stand_in.clear_faults()
        with self._warehouse() as warehouse:
            warehouse.execute("UPDATE capi.run SET paused_until = NULL")
        if any(fault["kind"] == "slow" for fault in self._scenario.faults):
            time.sleep(SLOWEST_S)
        left = [row for row in self._scenario.late_rows if row["crm_row"] not in self._crm.versions]
        self._change_crm(Act(kind="late", rows=tuple(left)))

    def _run_clean(self) -> None:
        """Run daily runs over all rows until one leaves nothing for the next one to send."""
        self._timeout_s = PATIENCE_S  # Meta works again; only this computer may be slow
        for number in range(1, MOST_CLEAN_RUNS + 1):
            self._end_leases()
            plans = [
                RunPlan(dag_run_id=f"clean-{number}-{place}", pipeline=place)
                for place in range(len(self._scenario.pipelines))
            ]
            act = Act(kind="run")
            self._work([self._begin(plan) for plan in plans], act)
            self._look(act)
            with self._warehouse() as warehouse:
                is_open = warehouse.execute(_OPEN, [self._resends]).fetchone()
                is_running = warehouse.execute("SELECT FROM capi.run WHERE state = 'running'").fetchone()
            if is_open is None and is_running is None:
                return

    # Processes ----------------------------------------------------------------------------------------------------

    def _start(self, run: _DagRun, *, is_alone: bool = True) -> ForkServerProcess:
        settings = self._worker_settings(run, is_alone=is_alone)
        run.log.with_suffix(".settings").write_text(json.dumps(settings))
        return fork_worker(work, settings)

    def _worker_settings(self, run: _DagRun, *, is_alone: bool) -> dict[str, Any]:
        plan = run.plan
        start, end = self._window(plan)
        postgres, stand_in = self._parts.server.postgres, self._parts.stand_in
        asks_gx = self._scenario.seed % GX_EVERY == 0
        return {
            "database": f"host={postgres.socket_folder} user=postgres dbname={self._database}",
            "meta": {
                "dataset_id": stand_in.dataset_id,
                "crm_name": CRM_NAME,
                "token": EXPIRED_TOKEN if plan.meta == "expired token" else stand_in.token,
                "base_url": self._parts.unreachable_url if plan.meta == "down" else stand_in.base_url,
            },
            "pipeline": self._versions[plan.pipeline][-1].model_dump(mode="json"),
            "facts": {
                "dag_run_id": plan.dag_run_id,
                "mode": str(plan.mode),
                "start": start.isoformat(),
                "end": end.isoformat(),
                "is_sweep": plan.is_sweep,
            },
            "now": self._now.isoformat(),
            "log": str(run.log),
            "fuse": plan.fuse,
            "tries": plan.tries,
            "timeout_s": self._timeout_s,
            "gx_memory": "" if asks_gx else str(self._parts.gx_memory),
            "parallel_shards": plan.parallel_shards,
            "is_alone": is_alone,
        }

    def _window(self, plan: RunPlan) -> tuple[datetime, datetime]:
        return self._midnight - timedelta(days=plan.first_day), self._midnight - timedelta(days=plan.last_day)

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
        received: dict[str, list[dict[str, Any]]] = {}
        for entry in self._parts.stand_in.events():
            if not entry["test_event_code"]:
                received.setdefault(entry["event"]["event_id"], []).append(entry["event"])
        with self._warehouse() as warehouse:
            ledger = read_ledger(warehouse)
            if unknown := received.keys() - ledger.keys():
                self.report.broken.append(f"law 2: Meta received {len(unknown)} events that are not in the ledger")
            for versions in self._versions:
                own = {event_id: row for event_id, row in ledger.items() if row["pipeline"] == versions[-1].name}
                self.report.broken += find_broken_laws(
                    Evidence(
                        warehouse=warehouse,
                        crm=self._crm,
                        pipeline=versions[-1],
                        versions=versions,
                        received=received,
                        hopeless=frozenset(self._scenario.hopeless),
                        poisoned=self._scenario.poisoned,
                        moments=(self._began, self._now),
                        messages=[entry.message for entry in entries],
                        ledger=own,
                    )
                )
            held, taken_over = warehouse.execute("SELECT sum(held), sum(taken_over) FROM capi.run").fetchall()[0]
        self.report.figures += Counter(row["status"] for row in ledger.values())
        self.report.figures += Counter(
            {
                "resent": sum(len(events) - 1 for events in received.values()),
                "doubts": sum(row["doubts"] for row in ledger.values()),
                "runs": len(self._runs),
                "held": int(held),
                "taken over": int(taken_over),
            }
        )

    def _judge_errors(self, failures: Sequence[Entry]) -> None:
        for entry in failures:
            self.report.errors[f"{entry.step}: {entry.error}"] += 1
            if entry.error not in HARMLESS_ERRORS:
                self.report.broken.append(f"{entry.step} raised {entry.error}: {entry.message}")

    @contextmanager
    def _warehouse(self) -> Iterator[Connection]:
        with self._parts.server.postgres.connect(self._database) as connection:
            yield connection


def play_round(parts: Parts, seed: int, *, now: datetime) -> Report:
    """Play the round of a seed in its own database."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    base = load_pipeline(PIPELINES_FOLDER / "conversion_leads.yaml")
    scenario = draw_scenario(seed, base, midnight=midnight)
    noon = midnight + timedelta(hours=12)
    with (
        parts.server.database(f"round_{seed}", is_empty=scenario.starts_empty) as database,
        TemporaryDirectory(prefix="chaos-") as folder,
    ):
        return Round(parts, database, scenario, Path(folder), now=noon).play()


def _is_stopped(worker: ForkServerProcess) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED)
    return False


def _name(fault: dict[str, Any]) -> str:
    """Return a fault's kind with its main details."""
    code = fault.get("json", {}).get("error", {}).get("code")
    details = [str(detail) for detail in (fault.get("status"), code) if detail is not None]
    return " ".join([fault["kind"], *details, *(["processed"] if fault.get("processed") else [])])
