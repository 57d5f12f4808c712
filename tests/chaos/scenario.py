"""What a round is about, drawn from its seed: the CRM's rows, the settings, Meta's faults, what happens when."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from crm_to_meta.models import Mode, event_id_of

if TYPE_CHECKING:
    from crm_to_meta.pipeline import Pipeline

Row = dict[str, Any]

PERSONAL_MARK: Final = "zqpii"  # in each e-mail and name of the CRM, so that one search finds them all
PHONE: Final = "12025550143"
SUBCODES: Final = (2804019, 2804050, 2804003, 2804004, 2804009, 2804043)
STAGES: Final = ("new", "contacted", "qualified", "opportunity", "won", "lost")
WIDEST_DAYS: Final = 10  # a window over all rows, also the ones that are too old
MAX_CLOCK_HOURS: Final = 12
SLOWEST_S: Final = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """One DAG run: its window, how it is worked on, and where its worker dies or is paused."""

    dag_run_id: str
    mode: Mode = Mode.LIVE
    first_day: int = WIDEST_DAYS  # days back from midnight
    last_day: int = 0
    is_sweep: bool = True
    fuse: dict[str, Any] = field(default_factory=dict)
    killed_after_s: float | None = None
    parallel_shards: int = 1
    tries: int = 1
    is_token_expired: bool = False


ActKind = Literal["run", "again", "pause", "late", "repair", "leases", "clock"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One thing that happens in a round."""

    kind: ActKind
    runs: tuple[RunPlan, ...] = ()
    way: str = ""  # of `again`: resume, or what is cleared first; of `pause`: who works meanwhile
    place: float = 0  # of `again`: which of the DAG runs so far, as a share
    ends_leases: bool = False
    hours: int = 0
    postgres_dies_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """All that is drawn for one round."""

    seed: int
    pipeline: Pipeline
    rows: list[Row]
    late_rows: list[Row]
    repairs: list[Row]
    poisoned: dict[str, int]
    deleted: dict[int, str]
    faults: list[dict[str, Any]]
    acts: list[Act]
    judges_rows: bool
    kills_postgres: bool
    timeout_s: float

    @property
    def hopeless(self) -> set[str]:
        """Events that Meta refuses for good: poisoned ones, and unknown leads that have nothing else to go by."""
        by_lead = {row["lead_id"]: row for row in [*self.rows, *self.late_rows, *self.repairs]}
        alone = {
            event_id
            for lead_id, event_id in self.deleted.items()
            if not by_lead[str(lead_id)].get("email") and not by_lead[str(lead_id)].get("phone")
        }
        return alone | self.poisoned.keys()


def draw_scenario(seed: int, base: Pipeline, *, midnight: datetime) -> Scenario:
    """Return the round of a seed."""
    rng = random.Random(seed)  # noqa: S311 - a test's own choice
    judges_rows = rng.random() < 0.4
    kills_postgres = rng.random() < 0.12
    pipeline = _draw_pipeline(rng, base)
    numbers = iter(range(1, 10_000))
    rows = [_draw_row(rng, next(numbers), midnight) for _ in range(int(rng.triangular(50, 400, 80)))]
    late = [_draw_row(rng, next(numbers), midnight) for _ in range(rng.randint(0, 40))]
    repairs: list[Row] = []
    if judges_rows:
        repairs = [repair for row in rows if (repair := _soil(rng, row, rows, midnight)) is not None]
    sound = [row for row in rows if row["transition_id"] and row not in repairs]
    poisoned, deleted = _draw_refusals(rng, sound, pipeline.name)
    is_slow = rng.random() < 0.2
    return Scenario(
        seed=seed,
        pipeline=pipeline,
        rows=rows,
        late_rows=late,
        repairs=repairs,
        poisoned=poisoned,
        deleted=deleted,
        faults=_draw_faults(rng, is_slow=is_slow),
        acts=_draw_acts(rng, kills_postgres=kills_postgres, judges_rows=judges_rows),
        judges_rows=judges_rows,
        kills_postgres=kills_postgres,
        timeout_s=SLOWEST_S / 2 if is_slow else 10,
    )


def _draw_pipeline(rng: random.Random, base: Pipeline) -> Pipeline:
    delivery = {
        "chunk_size": rng.choice([5, 7, 10, 20, 35, 50]),
        "shard_chunks": rng.randint(1, 3),
        "on_in_doubt": rng.choice(["resend", "resend", "hold"]),
        "attempts": rng.randint(1, 3),
    }
    settings = base.model_dump()
    settings["delivery"] |= delivery
    settings["quality"] |= {"max_quarantined_share": 1.0}
    return type(base).model_validate(settings)


def _draw_row(rng: random.Random, number: int, midnight: datetime) -> Row:
    """Return a sound row; one in ten is about to be too old for Meta, or is already."""
    near_limit = timedelta(days=7) - timedelta(hours=rng.uniform(-4, 16))
    age = near_limit if rng.random() < 0.1 else timedelta(days=rng.uniform(0.01, 6.4))
    return {
        "transition_id": f"t-{number:05d}",
        "lead_id": str(10**15 + number),
        "stage": rng.choice(STAGES),
        "event_time": midnight - age,
        "email": f"{PERSONAL_MARK}{number}@example.com" if rng.random() < 0.8 else None,
        "phone": f"+{PHONE}" if rng.random() < 0.3 else None,
        "first_name": f"{PERSONAL_MARK} {number}",
        "opted_out": False,
    }


def _soil(rng: random.Random, row: Row, rows: list[Row], midnight: datetime) -> Row | None:
    """Make one row in 25 dirty, in place; return how it will look once somebody has repaired it, if ever."""
    if rng.random() > 0.04:
        return None
    clean = dict(row)
    dirt: list[Row] = [
        {"stage": None},
        {"stage": "nobody knows"},
        {"event_time": None},
        {"event_time": midnight + timedelta(days=30)},
        {"lead_id": "12"},
        {"lead_id": None, "email": None, "phone": None, "first_name": None},
        {"opted_out": True},
        {"transition_id": None},
        {"transition_id": rng.choice(rows)["transition_id"]},
    ]
    row.update(rng.choice(dirt))
    is_repaired = row["transition_id"] == clean["transition_id"] and rng.random() < 0.5
    return clean if is_repaired else None


def _draw_refusals(rng: random.Random, rows: list[Row], pipeline: str) -> tuple[dict[str, int], dict[int, str]]:
    picked = rng.sample(rows, rng.choice([0, 1, 3, 6]))
    half = len(picked) // 2
    id_of = {row["transition_id"]: str(event_id_of(pipeline, row["transition_id"])) for row in picked}
    poisoned = {id_of[row["transition_id"]]: rng.choice(SUBCODES) for row in picked[:half]}
    deleted = {int(row["lead_id"]): id_of[row["transition_id"]] for row in picked[half:] if row["lead_id"]}
    return poisoned, deleted


def _draw_faults(rng: random.Random, *, is_slow: bool) -> list[dict[str, Any]]:
    """Return up to five kinds of faults; each happens to a share of the requests, some only a few times."""
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


def _draw_acts(rng: random.Random, *, kills_postgres: bool, judges_rows: bool) -> list[Act]:
    numbers = iter(range(1, 100))
    acts = [Act(kind="run", runs=(_draw_run(rng, next(numbers), judges_rows=judges_rows),))]
    hours_left = MAX_CLOCK_HOURS
    weights = {"run": 4, "both": 2, "again": 4, "pause": 3, "late": 1, "repair": 1, "leases": 2, "clock": 1}
    for _ in range(rng.randint(4, 9)):
        (kind,) = rng.choices(list(weights), list(weights.values()))
        ends_leases = rng.random() < 0.5
        dies = rng.uniform(0, 0.8) if kills_postgres and rng.random() < 0.4 else None
        match kind:
            case "run" | "both":
                plans = tuple(
                    _draw_run(rng, next(numbers), judges_rows=judges_rows) for _ in range(1 if kind == "run" else 2)
                )
                acts.append(Act(kind="run", runs=plans, postgres_dies_after_s=dies))
            case "again":
                (way,) = rng.choices(
                    ["resume", "load", "transform", "validate", "extract", "audit"], [4, 3, 1, 1, 2, 1]
                )
                plan = _draw_run(rng, 0, judges_rows=judges_rows)
                acts.append(Act(kind="again", runs=(plan,), way=way, place=rng.random(), postgres_dies_after_s=dies))
            case "pause":
                plan = _draw_run(rng, next(numbers), judges_rows=judges_rows)
                fuse = {**_draw_fuse(rng), "signal_name": "SIGSTOP"}
                paused = RunPlan(**{**_members(plan), "fuse": fuse, "killed_after_s": None, "mode": Mode.LIVE})
                other = _draw_run(rng, next(numbers), judges_rows=judges_rows)
                way = rng.choice(["twin", "other"])
                acts.append(Act(kind="pause", runs=(paused, other), way=way, ends_leases=ends_leases))
            case "clock" if hours_left:
                hours = rng.randint(1, hours_left)
                hours_left -= hours
                acts.append(Act(kind="clock", hours=hours))
            case "late" | "repair" | "leases":
                acts.append(Act(kind=kind))
    return acts


def _members(plan: RunPlan) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in RunPlan.__dataclass_fields__}


def _draw_run(rng: random.Random, number: int, *, judges_rows: bool) -> RunPlan:
    is_sweep = rng.random() < 0.6
    first = 8 if is_sweep else rng.randint(1, 9)
    last = rng.choice([0, 0, 1]) if is_sweep else rng.randint(0, first - 1)
    (mode,) = rng.choices([Mode.LIVE, Mode.TEST, Mode.PREVIEW], [18, 1, 1])
    fate = rng.random()
    return RunPlan(
        dag_run_id=f"run-{number}",
        mode=mode,
        first_day=first + last if is_sweep else first,
        last_day=last,
        is_sweep=is_sweep,
        fuse=_draw_fuse(rng) if fate < 0.5 else {},
        killed_after_s=rng.uniform(0, 1.2 if judges_rows else 0.5) if 0.5 <= fate < 0.65 else None,
        parallel_shards=rng.choice([1, 1, 2]),
        tries=rng.randint(1, 3),
        is_token_expired=rng.random() < 0.05,
    )


def _draw_fuse(rng: random.Random) -> dict[str, Any]:
    """Return where a worker dies: half of the fuses burn at requests, or between them and their record."""
    is_after = rng.random() < 0.5
    if rng.random() < 0.35:
        return {"unit": "send", "number": rng.randint(1, rng.choice([3, 15])), "is_after": is_after}
    return {"unit": "statement", "number": rng.randint(1, rng.choice([25, 60, 150])), "is_after": is_after}
