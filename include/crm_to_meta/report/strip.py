"""Prepare the chart of a pipeline's last days: a stacked column for each day, its mark, and a sentence for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from crm_to_meta.models import Status
from crm_to_meta.report.headline import NEEDS_A_LOOK, counted, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crm_to_meta.report.overview import Day

GROUPS: Final = {  # from the bottom up
    "delivered": (Status.DELIVERED,),
    "open": (Status.PENDING, Status.IN_DOUBT),
    "look": NEEDS_A_LOOK,
    "aside": (Status.EXPIRED, Status.SKIPPED),
}
GROUP_NAMES: Final = {
    "delivered": "Delivered",
    "open": "Open: pending or in doubt",
    "look": "Needs a look: quarantined or rejected",
    "aside": "Set aside: expired or skipped",
}
COLUMN_SHARE: Final = 0.72  # a column's part of its slot; the rest is a gap
LEAST_HEIGHT: Final = 1.5  # percent: a small number must remain visible
STATE_WORDS: Final = {
    "succeeded": "good",
    "failed": "failed",
    "running": "still running",
    "abandoned": "given up",
    None: "no run",
}


class Part(NamedTuple):
    """A part of a column; places and sizes are in percent of the chart."""

    group: str
    y: float
    height: float


class Column(NamedTuple):
    """A day in the chart, and its row in the table."""

    label: str
    state: str
    state_name: str
    x: float
    width: float
    parts: Sequence[Part]
    counts: Sequence[int]
    total: int
    text: str


class Strip(NamedTuple):
    """The chart, and what it says in a sentence."""

    columns: Sequence[Column]
    highest: int
    meaning: str
    statuses: Sequence[Status]


def strip_of(days: Sequence[Day]) -> Strip:
    """Return the chart of some days, the oldest first."""
    highest = max(day.total for day in days)
    slot = 100 / len(days)
    columns = [_column_of(day, place * slot, slot * COLUMN_SHARE, highest) for place, day in enumerate(days)]
    return Strip(columns, highest, _meaning_of(days), list(days[0].counts))


def _column_of(day: Day, x: float, width: float, highest: int) -> Column:
    parts = []
    top = 100.0
    for group, statuses in GROUPS.items():
        if number := sum(day.counts[status] for status in statuses):
            height = max(number / highest * 100, LEAST_HEIGHT)
            top -= height
            parts.append(Part(group, max(top, 0), height))
    label = f"{day.day.day} {day.day:%B}"
    state_name = STATE_WORDS[day.last_state]
    clauses = [f"{day.counts[status]:,} {status.replace('_', ' ')}" for status in day.counts if day.counts[status]]
    text = f"{label}, {state_name}: {listed(clauses) or ('nothing new' if day.runs else 'nothing')}"
    return Column(
        label=label,
        state=day.last_state or "none",
        state_name=state_name,
        x=x,
        width=width,
        parts=parts,
        counts=list(day.counts.values()),
        total=day.total,
        text=text,
    )


def _meaning_of(days: Sequence[Day]) -> str:
    ran = [day for day in days if day.runs]
    failed = sum(1 for day in ran if day.last_state == "failed")
    delivered = sum(day.counts[Status.DELIVERED] for day in days)
    look = sum(day.counts[status] for day in days for status in GROUPS["look"])
    clauses = [
        f"runs on {len(ran)} of the last {len(days)} days",
        f"{counted(failed, 'of them', 'of them')} failed" if failed else "none of them failed",
        f"{counted(delivered, 'stage change', 'stage changes')} delivered",
        f"{counted(look, 'needs', 'need')} a look",
    ]
    return f"{listed(clauses)}.".capitalize()
