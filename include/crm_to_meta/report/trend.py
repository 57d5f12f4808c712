"""Prepare the small column charts of the last runs. Positions and sizes are in percent of a chart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from crm_to_meta.models import Mode, Status
from crm_to_meta.report.headline import unbuilt_count
from crm_to_meta.report.layout import number, percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from crm_to_meta.report.facts import Facts, PastRun

FEWEST_SLOTS: Final = 14  # keeps the column of a single run narrow
COLUMN_SHARE: Final = 0.62  # a column's part of its slot; the rest is a gap
SHORTEST_SPARK: Final = 12.0  # percent
SHARE_WITHOUT_DECIMAL: Final = 0.1  # a change of 10% or more has no decimal
YEAR_LENGTH: Final = 4
MINUS: Final = "\u2212"
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


class Change(NamedTuple):
    """What is different from the run before. `direction` is up, down or same."""

    text: str
    direction: str


class Chart(NamedTuple):
    """One measure over the last runs. `is_worry` marks one that counts what needs a look."""

    name: str
    meaning: str
    latest: str
    is_above_zero: bool
    highest: str
    change: Change | None
    is_worry: bool
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


def trend_of(facts: Facts) -> Trend:
    """Return the charts of the runs up to this one, oldest first."""
    runs = [_as_shown(facts, run) for run in reversed(facts.past_runs)]
    rows = [_row_of(run, is_preview=facts.run.mode is Mode.PREVIEW) for run in runs]
    slots = max(len(rows), FEWEST_SLOTS)
    sent = "Ready" if facts.run.mode is Mode.PREVIEW else "Delivered"
    former = _run_before(facts)
    before = _row_of(former, is_preview=facts.run.mode is Mode.PREVIEW) if former else None
    width = 100 / slots
    charts = [
        _chart(_Measure(sent, "events", "delivered"), rows, before, width),
        _chart(_Measure("Need a look", "quarantined or rejected", "need_a_look", is_worry=True), rows, before, width),
        _chart(
            _Measure("Share quarantined", "of the rows picked", "quarantined_share", is_worry=True), rows, before, width
        ),
    ]
    return Trend(
        charts=charts,
        rows=rows[::-1],
        empty_slots=[number * width for number in range(len(rows), slots)],
        slot_width=width * COLUMN_SHARE,
        first_day=rows[0].day,
        last_day=rows[-1].day,
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


class _Measure(NamedTuple):
    """What a chart shows: a field of `TrendRow`, a count or a share."""

    name: str
    meaning: str
    field: str
    is_worry: bool = False

    def of(self, row: TrendRow) -> float:
        """Return the number of a run."""
        return float(getattr(row, self.field))

    def write(self, row: TrendRow) -> str:
        """Return the number of a run as text."""
        value = getattr(row, self.field)
        return percent(value) if self.is_share else number(value)

    @property
    def is_share(self) -> bool:
        """Whether it is a share, which changes by points and not by percent."""
        return self.field.endswith("_share")


def _chart(measure: _Measure, rows: Sequence[TrendRow], before: TrendRow | None, width: float) -> Chart:
    values, texts = [measure.of(row) for row in rows], [measure.write(row) for row in rows]
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
    change = _change_of(measure, rows[-1], before) if before else None
    most = texts[values.index(highest)]
    return Chart(measure.name, measure.meaning, texts[-1], values[-1] > 0, most, change, measure.is_worry, columns)


def _run_before(facts: Facts) -> PastRun | None:
    """Return the run to compare with: the latest one of an earlier window that was as wide, by its biggest pass.

    None for a run that is not closed, and for one of a window that another run has delivered from: it found the rest.
    """
    shown = facts.run
    others = [run for run in facts.past_runs if run.run_key != shown.run_key and run.is_sweep == shown.is_sweep]
    is_repeated = any(run.window_end == shown.window_end and run.delivered + run.ready for run in others)
    if not shown.is_audited or is_repeated:
        return None
    earlier = [run for run in others if run.window_end < shown.window_end]
    return max(earlier, key=lambda run: (run.window_end, run.extracted), default=None)


def _change_of(measure: _Measure, now: TrendRow, before: TrendRow) -> Change:
    former, difference = measure.of(before), measure.of(now) - measure.of(before)
    text = measure.write(before)
    day = before.day.removesuffix(now.day[-YEAR_LENGTH:]).rstrip()  # the year where it is another one
    if measure.write(now) == text:
        return Change(f"as in the run of {day}", "same")
    if measure.is_share:
        amount = f"{difference * 100:+.1f} points"
    elif not former:
        amount = f"{difference:+,.0f}"
    else:
        share = difference / former
        amount = f"{share:+,.0%}" if abs(share) >= SHARE_WITHOUT_DECIMAL else f"{share:+.1%}"
    direction = "up" if difference > 0 else "down"
    return Change(f"{amount.replace('-', MINUS)} against the run of {day} ({text})", direction)


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
