"""Turn the facts of a run into the rows of the page: texts, shares, and widths of bars in percent."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from crm_to_meta.models import NOT_JUDGED, DropReason, Mode, Reason, Status
from crm_to_meta.reasons import explain_drop, explain_reason
from crm_to_meta.report.facts import ALL_STAGES, NO_STAGE, NOT_TRANSFORMED
from crm_to_meta.report.headline import NEEDS_A_LOOK, listed, oddity_of, unbuilt_count
from crm_to_meta.report.trend import Sparkline, sparklines_of
from crm_to_meta.report.words import (
    BATCH_SEVERITY_WORDS,
    FIELD_WORDS,
    HANDED_OVER,
    OWN_REMEDY,
    PREVIEW_PENDING,
    SEVERITY_WORDS,
    STATUS_WORDS,
    STEP_MEANINGS,
    STEPS,
    TEST_DELIVERED,
    UNBUILT,
    UNCOUNTED_DEFECT,
    UNCOUNTED_WORDS,
    Words,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crm_to_meta.report.facts import Facts, QualityRule

STATUS_ORDER: Final = (
    Status.DELIVERED,
    Status.PENDING,
    Status.IN_DOUBT,
    Status.QUARANTINED,
    Status.REJECTED,
    Status.EXPIRED,
    Status.SKIPPED,
)
THINNEST_SLICE: Final = 1.2  # percent of the bar; thinner slices could not be seen
MAX_STAGES: Final = 30
LONGEST_NAME: Final = 60
STAGE_NOTES: Final = {
    NO_STAGE: "no stage given",
    ALL_STAGES: "all stages together",
    NOT_TRANSFORMED: "not built",
}

ROW_MARKS: Final = {"critical": ("fail", "Refused"), "warning": ("fail", "Held back"), "info": ("note", "Set aside")}
BATCH_MARKS: Final = {"critical": ("fail", "Refused"), "warning": ("fail", "Warns"), "info": ("note", "Noted")}
_LOOKS_PERSONAL: Final = re.compile(
    r"@|(?:\d[\s()./-]*){7}"
)  # an address or a phone: a wrong column is mapped to the stage
HIDDEN_STAGE: Final = "hidden: looks like personal data"


class Slice(NamedTuple):
    """A part of the stacked bar, and its row in the table below. `start` and `width` are in percent."""

    key: str
    name: str
    meaning: str
    rows: int
    share: float
    start: float
    width: float


class StageRow(NamedTuple):
    """The rows of a CRM stage per status. `is_note` marks a name that is not a stage's."""

    name: str
    is_note: bool
    cells: list[int]
    total: int
    delivered_share: float


@dataclass(frozen=True, slots=True)
class Funnel:
    """The table of stages and statuses."""

    names: list[str]
    rows: list[StageRow]
    totals: list[int]
    total: int


class ReasonRow(NamedTuple):
    """A reason, the number of rows that have it, and its texts."""

    code: str
    rows: int
    meaning: str
    remedy: str


class FieldRow(NamedTuple):
    """The usable, dropped and missing values of one of Meta's fields."""

    field: str
    name: str
    priority: str
    present: int
    usable: int
    share: float
    dropped: int
    dropped_share: float
    why: str


class RuleRow(NamedTuple):
    """A rule of the data contract with its mark.

    `place` is the id of the element that says what to do; empty where there is nothing to do.
    """

    rule: QualityRule
    observed: str
    mark: str
    result: str
    severity: Words
    place: str
    sparkline: Sparkline | None


class Oddity(NamedTuple):
    """A broken rule about the batch, and what to do."""

    place: str
    result: str
    meaning: str
    remedy: str
    code: str


class StepRow(NamedTuple):
    """How long a step worked, in seconds. `width` is in percent of the longest step."""

    name: str
    meaning: str
    seconds: float
    width: float


def slices_of(facts: Facts) -> list[Slice]:
    """Return the slices of the bar that have rows, in its order."""
    unbuilt = unbuilt_count(facts) if facts.run.mode is Mode.PREVIEW else 0
    counts = {**facts.counts, Status.PENDING: facts.counts[Status.PENDING] - unbuilt}
    candidates: list[tuple[str, Words, int]] = [
        *((status, status_words(facts, status), counts[status]) for status in STATUS_ORDER),
        ("unbuilt", UNBUILT, unbuilt),
        ("handed_over", HANDED_OVER, facts.handed_over),
        ("uncounted", UNCOUNTED_WORDS.get(facts.run.state, UNCOUNTED_DEFECT), facts.uncounted),
    ]
    found = [candidate for candidate in candidates if candidate[2] > 0]
    total = sum(count for _, _, count in found)
    widths = _visible_widths([count / total * 100 for _, _, count in found])
    starts = [sum(widths[:position]) for position in range(len(widths))]
    return [
        Slice(key, words.name, words.meaning, count, count / total, start, width)
        for (key, words, count), start, width in zip(found, starts, widths, strict=True)
    ]


def absent_statuses(facts: Facts) -> str:
    """Return the names of the statuses without a row, as part of a sentence."""
    return listed([str(status).replace("_", " ") for status in STATUS_ORDER if not facts.counts[status]], "or")


def status_words(facts: Facts, status: Status) -> Words:
    """Return the name and meaning of a status in the mode of the run."""
    if facts.run.mode is Mode.PREVIEW and status is Status.PENDING:
        return PREVIEW_PENDING
    if facts.run.mode is Mode.TEST and status is Status.DELIVERED:
        return TEST_DELIVERED
    return STATUS_WORDS[status]


def funnel_of(facts: Facts) -> Funnel:
    """Return the stages, the busiest first. Leads pass the early stages first, so that is mostly the funnel's order."""
    by_name: dict[tuple[bool, str], dict[Status, int]] = {}
    for stage, per_status in facts.by_stage.items():
        merged = by_name.setdefault(_shown_stage(stage), {})
        for status, number in per_status.items():
            merged[status] = merged.get(status, 0) + number
    ordered = sorted(by_name.items(), key=lambda item: (item[0][0], -sum(item[1].values()), item[0][1]))
    kept, others = ordered[:MAX_STAGES], ordered[MAX_STAGES:]
    if others:
        rest = {status: sum(per_status.get(status, 0) for _, per_status in others) for status in Status}
        kept.append(((True, f"{len(others):,} further stages"), rest))
    statuses = [status for status in STATUS_ORDER if any(per_status.get(status) for _, per_status in kept)]
    rows = [_stage_row(name, per_status, statuses, is_note=is_note) for (is_note, name), per_status in kept]
    return Funnel(
        names=[_column_name(facts, status) for status in statuses],
        rows=rows,
        totals=[sum(row.cells[position] for row in rows) for position in range(len(statuses))],
        total=sum(row.total for row in rows),
    )


def reason_rows_of(facts: Facts) -> tuple[list[ReasonRow], list[ReasonRow]]:
    """Return the reasons that need a look, and those that are only on record; most rows first."""
    on_record = _reasons_on_record(facts)
    found = sorted(facts.by_reason.items(), key=lambda item: (-item[1], item[0]))
    rows = [ReasonRow(code, count, *_words_of(code, facts)) for code, count in found]
    look = [row for row in rows if row.code not in on_record]
    return look, [row for row in rows if row.code in on_record]


def unexplained_count(facts: Facts, look: Sequence[ReasonRow]) -> int:
    """Return how many rows need a look but have no reason on record: test runs count by request, not by event."""
    return sum(facts.counts[status] for status in (*NEEDS_A_LOOK, Status.IN_DOUBT)) - sum(row.rows for row in look)


def field_rows_of(facts: Facts) -> tuple[list[FieldRow], int]:
    """Return the fields in the order of Meta's priorities, and the number of rows whose fields were read."""
    rows_read = max([facts.accepted, *(sum(outcomes.values()) for outcomes in facts.fields.values())])
    known = [field for field in FIELD_WORDS if field in facts.fields]
    others = sorted(set(facts.fields) - set(known))
    return [_field_row(field, facts.fields[field], rows_read) for field in (*known, *others) if rows_read], rows_read


def rule_rows_of(facts: Facts) -> list[RuleRow]:
    """Return the rules of the contract with their results in this run and in the last runs."""
    sparklines = sparklines_of(facts) if len(facts.past_runs) > 1 else {}
    return [
        _rule_row(rule, place, sparklines.get((rule.reason, rule.words)), is_explained=rule.reason in facts.by_reason)
        for place, rule in enumerate(facts.rules)
    ]


def oddities_of(rows: Sequence[RuleRow]) -> list[Oddity]:
    """Return what to do about each broken rule about the batch, the most severe first."""
    broken = [row for row in rows if row.rule.is_about_batch and not row.rule.success]
    return [
        Oddity(row.place, row.result, oddity_of(row.rule), _remedy_of(row.rule), row.rule.reason)
        for row in sorted(broken, key=lambda row: list(BATCH_MARKS).index(row.rule.severity))
    ]


def _remedy_of(rule: QualityRule) -> str:
    return OWN_REMEDY if rule.reason == Reason.OWN_RULE else explain_reason(rule.reason).remedy


def step_rows_of(timings: Mapping[str, float]) -> list[StepRow]:
    """Return the steps that have worked, in the order of the pipeline."""
    longest = max([*timings.values(), 0.001])
    names = [*(step for step in STEPS if step in timings), *sorted(set(timings) - set(STEPS))]
    return [StepRow(name, STEP_MEANINGS.get(name, ""), timings[name], timings[name] / longest * 100) for name in names]


def _column_name(facts: Facts, status: Status) -> str:
    """Return the column's name. In a preview, pending rows are called ready unless some were not built."""
    return (STATUS_WORDS[status] if unbuilt_count(facts) else status_words(facts, status)).name


def _visible_widths(shares: Sequence[float]) -> list[float]:
    """Widen the shares that are too thin to be seen, and narrow the others, so that the sum stays 100."""
    thin = [share for share in shares if share < THINNEST_SLICE]
    if not thin:
        return list(shares)
    room = (100 - len(thin) * THINNEST_SLICE) / (100 - sum(thin))
    return [THINNEST_SLICE if share < THINNEST_SLICE else share * room for share in shares]


def _shown_stage(stage: str) -> tuple[bool, str]:
    """Return whether the name is a note, and the name: cut if long, hidden if it looks personal."""
    if stage in STAGE_NOTES:
        return True, STAGE_NOTES[stage]
    if _LOOKS_PERSONAL.search(stage):
        return True, HIDDEN_STAGE
    return False, stage if len(stage) <= LONGEST_NAME else f"{stage[:LONGEST_NAME]}\u2026"


def _stage_row(name: str, per_status: Mapping[Status, int], statuses: Sequence[Status], *, is_note: bool) -> StageRow:
    total = sum(per_status.values())
    delivered = per_status.get(Status.DELIVERED, 0)
    return StageRow(
        name, is_note, [per_status.get(status, 0) for status in statuses], total, delivered / total if total else 0
    )


def _reasons_on_record(facts: Facts) -> set[str]:
    """Return the reasons that need no action. Unmapped stages are among them if the pipeline skips them."""
    codes: set[str] = {Reason.OPTED_OUT, Reason.EVENT_TOO_OLD, Reason.SENT_WITHOUT_LEAD_ID}
    is_unmapped_skipped = facts.counts[Status.SKIPPED] > facts.by_reason.get(Reason.OPTED_OUT, 0)
    return codes | {Reason.STAGE_UNMAPPED} if is_unmapped_skipped else codes


def _words_of(code: str, facts: Facts) -> tuple[str, str]:
    text = explain_reason(code)
    own = [rule.description for rule in facts.rules if rule.failed and _is_own_row_rule(rule) and code == rule.reason]
    return " ".join([text.meaning, *([f"Broken here: {'; '.join(own)}."] if own else [])]), text.remedy


def _is_own_row_rule(rule: QualityRule) -> bool:
    return rule.reason == Reason.OWN_RULE and not rule.is_about_batch


def _field_row(field: str, outcomes: Mapping[str, int], rows_read: int) -> FieldRow:
    usable = outcomes.get("usable", 0)
    dropped = {code: number for code, number in outcomes.items() if code != "usable" and number}
    words = FIELD_WORDS.get(field, Words(field, ""))
    why = [f"{number:,} {explain_drop(code)}" for code, number in sorted(dropped.items(), key=lambda item: -item[1])]
    lost = sum(dropped.values())
    return FieldRow(
        field,
        words.name,
        words.meaning,
        usable + lost - dropped.get(DropReason.BLANK.value, 0),
        usable,
        usable / rows_read,
        lost,
        lost / rows_read,
        ", ".join(why),
    )


def _rule_row(rule: QualityRule, place: int, sparkline: Sparkline | None, *, is_explained: bool) -> RuleRow:
    words = BATCH_SEVERITY_WORDS if rule.is_about_batch else SEVERITY_WORDS
    severity = words.get(rule.severity, Words(rule.severity, ""))
    observed = (rule.observed or "").removeprefix("not judged: ")  # the mark says so
    if rule.success:
        is_judged = rule.checked or (rule.is_about_batch and rule.expectation != NOT_JUDGED)
        mark, result = ("pass", "Holds") if is_judged else ("none", "Not judged" if rule.is_about_batch else "No row")
        return RuleRow(rule, observed, mark, result, severity, "", sparkline)
    mark, result = (BATCH_MARKS if rule.is_about_batch else ROW_MARKS).get(rule.severity, ("fail", rule.severity))
    explained = f"reason-{rule.reason}" if is_explained and mark == "fail" else ""
    where = f"rule-{place}" if rule.is_about_batch else explained
    return RuleRow(rule, observed, mark, result, severity, where, sparkline)
