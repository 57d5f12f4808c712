"""Prepare the funnel: how many leads each stage of the pipeline file has, and how many the next one. Widths in percent.

Leads are counted where the ledger knows them (by Meta's lead id, in live runs), stage changes elsewhere. Stages that
are no step on the way (lost ones, and those that the pipeline file does not name) stand beside.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from crm_to_meta.models import Mode, Status
from crm_to_meta.report.facts import ALL_STAGES, NO_STAGE, NOT_TRANSFORMED
from crm_to_meta.report.headline import unbuilt_count
from crm_to_meta.report.personal import HIDDEN, is_personal_name
from crm_to_meta.report.words import STATUS_ORDER, STATUS_WORDS, status_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crm_to_meta.report.facts import Facts

MAX_OTHERS: Final = 30  # stages that are not in the pipeline file: there may be any number
LONGEST_NAME: Final = 60
NOTES: Final = {
    NO_STAGE: "no stage given",
    ALL_STAGES: "all stages together",
    NOT_TRANSFORMED: "not built",
}


class Step(NamedTuple):
    """A stage of the funnel.

    `size` and `done` (delivered, or ready in a preview) are leads, or stage changes where leads are not known; `rate`
    is the size as a share of the step before. `is_note` marks a name that is not a stage's.
    """

    name: str
    is_note: bool
    event_name: str
    size: int
    done: int
    done_share: float
    width: float
    done_width: float
    rate: float | None


class StageRow(NamedTuple):
    """The rows of a CRM stage per status. `is_note` marks a name that is not a stage's."""

    name: str
    is_note: bool
    cells: list[int]
    total: int


@dataclass(frozen=True, slots=True)
class Funnel:
    """The steps in their order, what stands beside, and the table of stages and statuses."""

    is_ordered: bool
    counts_leads: bool
    without_lead_id: int
    steps: list[Step]
    beside: list[Step]
    names: list[str]
    rows: list[StageRow]
    totals: list[int]
    total: int


@dataclass(slots=True)
class _Stage:
    """What is known of a stage, or of several that share a line."""

    name: str
    is_note: bool = False
    event_name: str = ""
    is_lost: bool = False
    size: int = 0
    done: int = 0
    changes: int = 0
    per_status: dict[Status, int] = field(default_factory=dict)

    def add(self, other: _Stage) -> None:
        """Count another stage here."""
        self.size += other.size
        self.done += other.done
        self.changes += other.changes
        for status, number in other.per_status.items():
            self.per_status[status] = self.per_status.get(status, 0) + number


def funnel_of(facts: Facts) -> Funnel:
    """Return the funnel of a run: in the order of the pipeline file, or the busiest stage first if that is unknown."""
    known, others = _known_stages(facts), _other_stages(facts)
    if known:
        on_the_way = [stage for stage in known if not stage.is_lost]
        beside = [stage for stage in known if stage.is_lost] + others
    else:
        on_the_way = [stage for stage in others if not stage.is_note]
        beside = [stage for stage in others if stage.is_note]
    if not any(stage.changes for stage in on_the_way):
        on_the_way = []
    beside = [stage for stage in beside if stage.changes]
    shown = [*on_the_way, *beside]
    statuses = [status for status in STATUS_ORDER if any(stage.per_status.get(status) for stage in shown)]
    rows = [_row_of(stage, statuses) for stage in shown]
    widest = max([1, *(stage.size for stage in shown)])
    return Funnel(
        is_ordered=bool(known),
        counts_leads=_counts_leads(facts),
        without_lead_id=sum(leads.without_id for leads in facts.leads.values()),
        steps=list(_steps_of(on_the_way, widest, is_ordered=bool(known))),
        beside=list(_steps_of(beside, widest, is_ordered=False)),
        names=[_column_name(facts, status) for status in statuses],
        rows=rows,
        totals=[sum(row.cells[position] for row in rows) for position in range(len(statuses))],
        total=sum(row.total for row in rows),
    )


def shown_stage(stage: str) -> tuple[bool, str]:
    """Return whether the name is a note, and the name: cut if long, hidden if it looks personal."""
    if stage in NOTES:
        return True, NOTES[stage]
    if is_personal_name(stage):
        return True, HIDDEN
    return False, _cut(stage)


def _known_stages(facts: Facts) -> list[_Stage]:
    """Return the stages of the pipeline file, also those without a row in this run."""
    stages = []
    for mapped in facts.stages:
        stage = _count(facts, mapped.stage)
        stage.event_name = HIDDEN if is_personal_name(mapped.event_name) else _cut(mapped.event_name)
        stage.is_lost = mapped.is_lost
        stages.append(stage)
    return stages


def _other_stages(facts: Facts) -> list[_Stage]:
    """Return the stages that the pipeline file does not name, busiest and notes last; those beyond a limit together."""
    by_name: dict[tuple[bool, str], _Stage] = {}
    for name in facts.by_stage.keys() - {mapped.stage for mapped in facts.stages}:
        stage = _count(facts, name)
        by_name.setdefault((stage.is_note, stage.name), _Stage(stage.name, stage.is_note)).add(stage)
    ordered = sorted(by_name.values(), key=lambda stage: (stage.is_note, -stage.changes, stage.name))
    kept, others = ordered[:MAX_OTHERS], ordered[MAX_OTHERS:]
    if others:
        rest = _Stage(f"{len(others):,} further stages", is_note=True)
        for stage in others:
            rest.add(stage)
        kept.append(rest)
    return kept


def _count(facts: Facts, stage: str) -> _Stage:
    """Count a stage: leads if the run knows any, else stage changes."""
    is_note, name = shown_stage(stage)
    per_status = facts.by_stage.get(stage, {})
    changes = sum(per_status.values())
    done = per_status.get(Status.PENDING if facts.run.mode is Mode.PREVIEW else Status.DELIVERED, 0)
    size = changes
    if _counts_leads(facts):
        leads = facts.leads.get(stage)
        size, done = (leads.leads, leads.delivered) if leads else (0, 0)
    return _Stage(name, is_note, size=size, done=done, changes=changes, per_status=dict(per_status))


def _counts_leads(facts: Facts) -> bool:
    return any(leads.leads for leads in facts.leads.values())


def _steps_of(stages: Sequence[_Stage], widest: int, *, is_ordered: bool) -> Iterator[Step]:
    before = 0
    for stage in stages:
        yield Step(
            name=stage.name,
            is_note=stage.is_note,
            event_name=stage.event_name,
            size=stage.size,
            done=stage.done,
            done_share=stage.done / stage.size if stage.size else 0,
            width=stage.size / widest * 100,
            done_width=stage.done / widest * 100,
            rate=stage.size / before if before and is_ordered else None,
        )
        before = stage.size


def _row_of(stage: _Stage, statuses: Sequence[Status]) -> StageRow:
    return StageRow(stage.name, stage.is_note, [stage.per_status.get(status, 0) for status in statuses], stage.changes)


def _column_name(facts: Facts, status: Status) -> str:
    """Return the column's name. In a preview, pending rows are called ready unless some were not built."""
    return (STATUS_WORDS[status] if unbuilt_count(facts) else status_words(facts.run.mode, status)).name


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}\u2026"
