"""Prepare the small column charts of the last runs. Positions and sizes are in percent of a chart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from crm_to_meta.models import Mode, Status
from crm_to_meta.report.headline import unbuilt_count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from crm_to_meta.report.facts import Facts, PastRun

FEWEST_SLOTS: Final = 14  # keeps the column of a single run narrow
COLUMN_SHARE: Final = 0.62  # a column's part of its slot; the rest is a gap
SHORTEST_SPARK: Final = 12.0  # percent
LOWEST_COLUMN: Final = 2.0  # percent: a small number must remain visible


class Column(NamedTuple):
    """A run in a chart. Positions and sizes are in percent of the chart."""

    run_key: str
    day: str
    text: str
    is_shown_run: bool
    x: float
    y: float
    width: float
    height: float


class Chart(NamedTuple):
    """One measure over the last runs."""

    name: str
    meaning: str
    latest: str
    highest: str
    columns: list[Column]


class Sparkline(NamedTuple):
    """A chart of one rule over the last runs, small enough for a table cell."""

    meaning: str
    columns: list[Column]


class TrendRow(NamedTuple):
    """The numbers of one run in the trend."""

    run_key: str
    day: str
    extracted: int
    delivered: int
    need_a_look: int
    quarantined_share: float


@dataclass(frozen=True, slots=True)
class Trend:
    """Charts one above the other that share an axis."""

    charts: list[Chart]
    rows: list[TrendRow]
    empty_slots: list[float]
    slot_width: float
    first_day: str
    last_day: str
    last_x: float


def trend_of(facts: Facts) -> Trend:
    """Return the charts of the runs up to this one, oldest first."""
    runs = [_as_shown(facts, run) for run in reversed(facts.past_runs)]
    rows = [_row_of(run, is_preview=facts.run.mode is Mode.PREVIEW) for run in runs]
    slots = max(len(rows), FEWEST_SLOTS)
    sent = "Ready" if facts.run.mode is Mode.PREVIEW else "Delivered"
    measures: list[tuple[str, str, list[float], list[str]]] = [
        (sent, "events", [row.delivered for row in rows], [f"{row.delivered:,}" for row in rows]),
        (
            "Need a look",
            "quarantined or rejected",
            [row.need_a_look for row in rows],
            [f"{row.need_a_look:,}" for row in rows],
        ),
        (
            "Share quarantined",
            "of the rows picked",
            [row.quarantined_share for row in rows],
            [f"{row.quarantined_share:.1%}" for row in rows],
        ),
    ]
    width = 100 / slots
    return Trend(
        charts=[_chart(name, meaning, values, texts, rows, width) for name, meaning, values, texts in measures],
        rows=rows[::-1],
        empty_slots=[number * width for number in range(len(rows), slots)],
        slot_width=width * COLUMN_SHARE,
        first_day=rows[0].day,
        last_day=rows[-1].day,
        last_x=(len(rows) - 1) * width + width * COLUMN_SHARE,
    )


def sparklines_of(facts: Facts) -> dict[tuple[str, str], Sparkline]:
    """Return a chart for each rule, by reason and words: the share of rows that broke it in each run, oldest first.

    A rule about the batch that was broken without a count of rows gets a full column.
    """
    runs = list(reversed(facts.past_runs))
    places = {run.run_key: place for place, run in enumerate(runs)}
    width = 100 / max(len(runs), FEWEST_SLOTS)
    by_rule: dict[tuple[str, str], dict[int, float]] = {}
    for result in facts.rule_results:
        share = result.failed / result.checked if result.failed and result.checked else float(not result.success)
        by_rule.setdefault((result.reason, result.words), {})[places[result.run_key]] = share
    return {rule: _sparkline(shares, runs, width) for rule, shares in by_rule.items()}


def _sparkline(shares: Mapping[int, float], runs: Sequence[PastRun], width: float) -> Sparkline:
    highest = max(shares.values()) or 1.0
    columns = []
    for place, share in sorted(shares.items()):
        height = max(SHORTEST_SPARK, share / highest * 100) if share else 0.0
        is_last = place == len(runs) - 1
        where = (place * width, 100 - height, width * COLUMN_SHARE, height)
        columns.append(Column(runs[place].run_key, _day(runs[place].window_end), f"{share:.1%}", is_last, *where))
    broken = sum(1 for share in shares.values() if share)
    return Sparkline(f"broken in {broken} of {len(shares)} runs, by at most {max(shares.values()):.1%}", columns)


def _chart(
    name: str, meaning: str, values: Sequence[float], texts: Sequence[str], rows: Sequence[TrendRow], width: float
) -> Chart:
    highest = max(values)
    heights = [max(LOWEST_COLUMN, value / highest * 100) if value else 0 for value in values]
    columns = [
        Column(
            run_key=row.run_key,
            day=row.day,
            text=text,
            is_shown_run=position == len(rows) - 1,
            x=position * width,
            y=100 - height,
            width=width * COLUMN_SHARE,
            height=height,
        )
        for position, (row, text, height) in enumerate(zip(rows, texts, heights, strict=True))
    ]
    return Chart(name, meaning, texts[-1], texts[list(values).index(highest)], columns)


def _as_shown(facts: Facts, run: PastRun) -> PastRun:
    """Give the shown run the counts of the page, since its audit may not have stored them yet."""
    if run.run_key != facts.run.run_key:
        return run
    counts = facts.counts
    return run._replace(
        delivered=counts[Status.DELIVERED],
        ready=counts[Status.PENDING] - unbuilt_count(facts),
        rejected=counts[Status.REJECTED],
        quarantined=counts[Status.QUARANTINED],
    )


def _row_of(run: PastRun, *, is_preview: bool) -> TrendRow:
    return TrendRow(
        run_key=run.run_key,
        day=_day(run.window_end),
        extracted=run.extracted,
        delivered=run.ready if is_preview else run.delivered,
        need_a_look=run.quarantined + run.rejected,
        quarantined_share=run.quarantined / run.extracted if run.extracted else 0,
    )


def _day(window_end: datetime) -> str:
    last = window_end.astimezone(UTC) - timedelta(seconds=1)
    return f"{last.day} {last:%b %Y}"
