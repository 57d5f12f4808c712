"""Draw the scenario of a round from its seed: the CRM's rows, the pipelines, Meta's faults, and the acts."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from crm import LOCAL_ZONE, STAGES, UNKNOWN_STAGE, Row, draw_change, draw_dirt, draw_row

from crm_to_meta.models import Mode, event_id_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from crm_to_meta.pipeline.settings import Pipeline

SUBCODES: Final = (2804019, 2804050, 2804003, 2804004, 2804009, 2804043)
WIDEST_DAYS: Final = 10  # a window over all rows, including those that are too old
MAX_CLOCK_HOURS: Final = 12
SLOWEST_S: Final = 0.6
MetaState = Literal["up", "down", "expired token"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """A DAG run: its window, its settings, and where its worker dies or is paused."""

    dag_run_id: str
    pipeline: int = 0
    mode: Mode = Mode.LIVE
    first_day: int = WIDEST_DAYS  # days back from midnight
    last_day: int = 0
    is_sweep: bool = True
    fuse: dict[str, Any] = field(default_factory=dict)
    killed_after_s: float | None = None
    starts_after_s: float = 0
    parallel_shards: int = 1
    tries: int = 1
    meta: MetaState = "up"


ActKind = Literal["run", "again", "pause", "late", "edit", "remap", "leases", "clock"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One act of a round."""

    kind: ActKind
    runs: tuple[RunPlan, ...] = ()
    way: str = ""  # `again`: the task to clear first; `pause`: who works meanwhile
    with_later_steps: bool = True  # `again`: also clear the later tasks
    place: float = 0  # `again`: which of the DAG runs so far, as a share
    ends_leases: bool = False
    hours: int = 0
    rows: tuple[Row, ...] = ()
    changes: tuple[tuple[int, Row], ...] = ()
    pipeline: int = 0
    settings: dict[str, Any] = field(default_factory=dict)  # `remap`: the new ones
    postgres_dies_after_s: float | None = None
    meanwhile: Act | None = None
    meanwhile_after_s: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Everything that is drawn for a round."""

    seed: int
    pipelines: list[Pipeline]
    rows: list[Row]
    late_rows: list[Row]
    poisoned: dict[str, int]
    deleted: list[int]
    hopeless: set[str]  # events that Meta always refuses: poisoned ones, and unknown leads without other data
    faults: list[dict[str, Any]]
    acts: list[Act]
    starts_empty: bool
    timeout_s: float


def draw_scenario(seed: int, base: Pipeline, *, midnight: datetime) -> Scenario:
    """Return the scenario of a seed."""
    rng = random.Random(seed)  # noqa: S311 - a test's own choice
    pipelines = _draw_pipelines(rng, base)
    numbers = iter(range(1, 10_000))
    rows = [draw_row(rng, next(numbers), midnight) for _ in range(int(rng.triangular(30, 300, 60)))]
    late = [draw_row(rng, next(numbers), midnight) for _ in range(rng.randint(0, 40))]
    sound = rng.sample(rows, len(rows) - len(rows) // 8)
    poisoned, deleted, hopeless = _draw_refusals(rng, sound, pipelines)
    repairs = {row["crm_row"]: clean for row in rows if row not in sound and (clean := _soil(rng, row, rows, midnight))}
    is_slow = rng.random() < 0.12
    return Scenario(
        seed=seed,
        pipelines=pipelines,
        rows=rows,
        late_rows=late,
        poisoned=poisoned,
        deleted=deleted,
        hopeless=hopeless,
        faults=_draw_faults(rng, is_slow=is_slow),
        acts=list(_Acts(rng, pipelines, [*rows, *late], late, repairs, midnight).draw()),
        starts_empty=rng.random() < 0.15,
        timeout_s=SLOWEST_S / 2 if is_slow else 10,
    )


def _draw_pipelines(rng: random.Random, base: Pipeline) -> list[Pipeline]:
    """Return one pipeline, or two that read the same table."""
    on_in_doubt = rng.choice(["resend", "resend", "hold"])
    time_type = rng.choice(["timestamptz", "timestamptz", "timestamptz", "timestamp", "text", "epoch_seconds"])
    names = [base.name, "second_brand"] if rng.random() < 0.35 else [base.name]
    pipelines = []
    for name in names:
        settings = base.model_dump()
        settings["name"] = name
        settings["stages"] = {stage: stage.title() for stage in STAGES}
        settings["unmapped_stages"] = rng.choice(["quarantine", "skip"])
        settings["source"] |= {"event_time_type": time_type}
        settings["quality"] |= {"max_quarantined_share": 1.0}
        settings["delivery"] |= {
            "chunk_size": rng.choice([5, 7, 10, 20, 35, 50]),
            "shard_chunks": rng.randint(1, 3),
            "on_in_doubt": on_in_doubt,
            "attempts": rng.randint(1, 3),
        }
        settings["time_zone"] = LOCAL_ZONE if time_type == "timestamp" else "UTC"
        pipelines.append(type(base).model_validate(settings))
    return pipelines


def _soil(rng: random.Random, row: Row, rows: list[Row], midnight: datetime) -> Row | None:
    """Make a row dirty in place; return the repair, or None if its id is wrong."""
    dirt = draw_dirt(rng, rows, midnight)
    clean = {name: row[name] for name in dirt}
    row.update(dirt)
    return None if "transition_id" in dirt else clean


def _draw_refusals(
    rng: random.Random, rows: list[Row], pipelines: list[Pipeline]
) -> tuple[dict[str, int], list[int], set[str]]:
    picked = rng.sample(rows, rng.choice([0, 1, 3, 6]))
    half = len(picked) // 2
    ids_of = {
        row["crm_row"]: [str(event_id_of(pipeline.name, row["transition_id"])) for pipeline in pipelines]
        for row in picked
    }
    poisoned = {event_id: rng.choice(SUBCODES) for row in picked[:half] for event_id in ids_of[row["crm_row"]]}
    deleted = [int(row["lead_id"]) for row in picked[half:]]
    alone = {
        event_id
        for row in picked[half:]
        if not row["email"] and not row["phone"]
        for event_id in ids_of[row["crm_row"]]
    }
    return poisoned, deleted, alone | poisoned.keys()


def _draw_faults(rng: random.Random, *, is_slow: bool) -> list[dict[str, Any]]:
    """Return up to five kinds of faults. Each happens in a share of the requests, some only a few times."""
    faults: list[dict[str, Any]] = [
        {"kind": "reset_before"},
        {"kind": "reset_after"},
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 503, "processed": True},
        {"kind": "answer", "status": 500, "json": {"error": {"code": 2, "is_transient": True}}},
        {"kind": "answer", "status": 500, "json": {"error": {"code": 99999}}, "processed": True},
        {"kind": "html"},
        {"kind": "html", "processed": True},
        {"kind": "truncated"},
        {"kind": "truncated", "cut_connection": True},
        {"kind": "fewer_received"},
        {"kind": "fewer_received", "processed": "all"},
        {"kind": "answer", "json": {"error": {"code": 17}}, "headers": {"Retry-After": "1"}},
        {"kind": "answer", "json": {"error": {"code": 17}}, "headers": {"Retry-After": "600"}},
        {"kind": "status", "status": 404},
    ]
    stops: list[dict[str, Any]] = [
        {"code": 190, "error_subcode": 463},
        {"code": 200},
        {"code": 100, "error_subcode": 33},
    ]
    plan = [_some(rng, fault) for fault in rng.sample(faults, rng.randint(0, 5))]
    if is_slow:
        process = rng.choice(["first", "after", "never"])
        plan.append(
            {"kind": "slow", "seconds": SLOWEST_S, "process": process, "when": {"probability": 0.2, "times": 3}}
        )
    if rng.random() < 0.25:
        fault = {"kind": "answer", "json": {"error": rng.choice(stops)}}
        plan.insert(0, {**fault, "when": {"from_request": rng.randint(1, 40), "times": rng.randint(1, 4)}})
    return plan


def _some(rng: random.Random, fault: dict[str, Any]) -> dict[str, Any]:
    when: dict[str, Any] = {"probability": rng.choice([0.03, 0.1, 0.3]), "seed": rng.randint(0, 10**6)}
    if rng.random() < 0.3:
        when["times"] = rng.randint(1, 5)
    return {**fault, "when": when}


WEIGHTS: Final = {  # how often each kind of act is drawn
    "run": 4, "both": 2, "overlap": 2, "again": 4, "pause": 3, "outage": 1, "dry": 1, "late": 1, "edit": 1, "remap": 1,
    "leases": 2, "clock": 1,
}  # fmt: skip


class _Acts:
    """Draws the acts of a round, in order."""

    def __init__(
        self,
        rng: random.Random,
        pipelines: list[Pipeline],
        rows: list[Row],
        late: list[Row],
        repairs: dict[int, Row],
        midnight: datetime,
    ) -> None:
        self._rng = rng
        self._pipelines = pipelines
        self._rows = rows
        self._late = list(late)
        self._repairs = repairs
        self._midnight = midnight
        self._numbers = iter(range(1, 1000))
        self._hours_left = MAX_CLOCK_HOURS
        self._kills_postgres = rng.random() < 0.12

    def draw(self) -> Iterator[Act]:
        """Yield five to ten acts."""
        rng = self._rng
        yield Act(kind="run", runs=(self._run(),))
        for _ in range(rng.randint(4, 9)):
            (kind,) = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))
            act = getattr(self, f"_draw_{kind}")()
            dies = rng.uniform(0, 0.6) if self._kills_postgres and rng.random() < 0.4 else None
            if act.kind in ("run", "again"):
                act = replace(act, postgres_dies_after_s=dies)
            if act.kind == "run" and rng.random() < 0.25:
                meanwhile = rng.choice([self._draw_late, self._draw_edit])()
                act = replace(act, meanwhile=meanwhile, meanwhile_after_s=rng.uniform(0, 0.2))
            yield act

    def _draw_run(self) -> Act:
        return Act(kind="run", runs=(self._run(),))

    def _draw_both(self) -> Act:
        return Act(kind="run", runs=(self._run(), self._run()))

    def _draw_overlap(self) -> Act:
        """Draw a sweep, and a backfill of some of its days at the same time, in either order."""
        rng = self._rng
        pipeline = rng.randrange(len(self._pipelines))
        sweep = replace(self._run(), pipeline=pipeline, first_day=8, last_day=0, is_sweep=True)
        first = rng.randint(2, 7)
        days = [
            replace(self._run(), pipeline=pipeline, first_day=day, last_day=day - 1, is_sweep=False)
            for day in range(first, max(first - rng.randint(1, 3), 0), -1)
        ]
        staggered = [replace(run, starts_after_s=rng.uniform(0, 0.15)) for run in [sweep, *days]]
        return Act(kind="run", runs=tuple(staggered))

    def _draw_again(self) -> Act:
        rng = self._rng
        ways = {"resume": 4, "load": 3, "transform": 1, "validate": 1, "extract": 2, "audit": 1}
        (way,) = rng.choices(list(ways), list(ways.values()))
        run = replace(self._run(), dag_run_id="")
        return Act(kind="again", runs=(run,), way=way, with_later_steps=rng.random() < 0.7, place=rng.random())

    def _draw_pause(self) -> Act:
        rng = self._rng
        way = rng.choice(["twin", "other"])
        paused = replace(self._run(), fuse=self._stop(), killed_after_s=None, mode=Mode.LIVE)
        second = self._run()
        if rng.random() < 0.6:  # the second one is paused, too, and the first one continues
            second = replace(second, fuse=self._stop(), killed_after_s=None)
        return Act(kind="pause", runs=(paused, second), way=way, ends_leases=rng.random() < 0.5)

    def _stop(self) -> dict[str, Any]:
        """Return where a worker is paused: in half of the cases at one of its first requests."""
        rng = self._rng
        at_request = {"unit": "send", "number": rng.randint(1, 4), "is_after": rng.random() < 0.5}
        return {**(at_request if rng.random() < 0.5 else self._fuse()), "signal_name": "SIGSTOP"}

    def _draw_outage(self) -> Act:
        """Draw runs during which Meta cannot be reached, or the token has expired."""
        meta: MetaState = self._rng.choice(["down", "expired token"])
        runs = [replace(self._run(), meta=meta, fuse={}) for _ in range(self._rng.randint(1, 2))]
        return Act(kind="run", runs=tuple(runs))

    def _draw_dry(self) -> Act:
        """Draw a preview or a test run alone. It must not change the ledger."""
        mode = self._rng.choice([Mode.PREVIEW, Mode.TEST])
        return Act(kind="run", runs=(replace(self._run(), mode=mode),))

    def _draw_late(self) -> Act:
        number = self._rng.randint(0, len(self._late))
        taken, self._late = self._late[:number], self._late[number:]
        return Act(kind="late", rows=tuple(taken))

    def _draw_edit(self) -> Act:
        rng = self._rng
        picked = rng.sample(self._rows, rng.randint(1, min(12, len(self._rows))))
        picked += [row for row in self._rows if row["crm_row"] in self._repairs and rng.random() < 0.5]
        return Act(
            kind="edit",
            changes=tuple(
                (row["crm_row"], draw_change(rng, row, self._repairs, self._midnight))
                for row in picked
                if str(row["transition_id"]).startswith("t-")
            ),
        )

    def _draw_remap(self) -> Act:
        """Draw an edit of the pipeline file: a stage is removed, renamed or added."""
        rng = self._rng
        stages = {stage: stage.title() for stage in STAGES}
        gone = rng.choice(STAGES)
        settings: list[dict[str, Any]] = [
            {"stages": {stage: name for stage, name in stages.items() if stage != gone}},
            {"stages": stages | {"won": "Customer"}},
            {"stages": stages | {UNKNOWN_STAGE: "Somewhere"}},
            {"stages": stages},
            {"unmapped_stages": rng.choice(["quarantine", "skip"])},
        ]
        return Act(kind="remap", pipeline=rng.randrange(len(self._pipelines)), settings=rng.choice(settings))

    def _draw_leases(self) -> Act:
        return Act(kind="leases")

    def _draw_clock(self) -> Act:
        hours = self._rng.randint(0, self._hours_left)
        self._hours_left -= hours
        return Act(kind="clock", hours=hours)

    def _run(self) -> RunPlan:
        rng = self._rng
        is_sweep = rng.random() < 0.6
        first = 8 if is_sweep else rng.randint(1, 9)
        last = rng.choice([0, 0, 1]) if is_sweep else rng.randint(0, first - 1)
        (mode,) = rng.choices([Mode.LIVE, Mode.TEST, Mode.PREVIEW], [18, 1, 1])
        fate = rng.random()
        return RunPlan(
            dag_run_id=f"run-{next(self._numbers)}",
            pipeline=rng.randrange(len(self._pipelines)),
            mode=mode,
            first_day=first + last if is_sweep else first,
            last_day=last,
            is_sweep=is_sweep,
            fuse=self._fuse() if fate < 0.5 else {},
            killed_after_s=rng.uniform(0, 0.4) if 0.5 <= fate < 0.65 else None,
            parallel_shards=rng.choice([1, 1, 2]),
            tries=rng.randint(1, 3),
            meta="expired token" if rng.random() < 0.05 else "up",
        )

    def _fuse(self) -> dict[str, Any]:
        """Return where a worker dies: before or after a request (about a third) or a statement."""
        rng = self._rng
        is_after = rng.random() < 0.5
        if rng.random() < 0.35:
            return {"unit": "send", "number": rng.randint(1, rng.choice([3, 15])), "is_after": is_after}
        return {"unit": "statement", "number": rng.randint(1, rng.choice([25, 60, 150])), "is_after": is_after}
