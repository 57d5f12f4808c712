"""Turn the facts of a run into the rows of the page: texts, shares, and widths of bars in percent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from crm_to_meta.models import NOT_JUDGED, DropReason, Mode, Reason, Status
from crm_to_meta.reasons import explain_drop, explain_reason
from crm_to_meta.report.facts import QualityRule
from crm_to_meta.report.headline import NEEDS_A_LOOK, counted, listed, oddity_of, refused_rule, unbuilt_count
from crm_to_meta.report.rows import ListedRows
from crm_to_meta.report.trend import Sparkline, sparklines_of
from crm_to_meta.report.words import (
    BATCH_SEVERITY_WORDS,
    FIELD_WORDS,
    HANDED_OVER,
    OWN_REMEDY,
    SEVERITY_WORDS,
    STATUS_ORDER,
    STEP_MEANINGS,
    STEPS,
    UNBUILT,
    UNCOUNTED_DEFECT,
    UNCOUNTED_WORDS,
    Words,
    status_words,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crm_to_meta.report.facts import Facts

THINNEST_SLICE: Final = 1.2  # percent of the bar; thinner slices could not be seen
ROW_MARKS: Final = {"critical": ("fail", "Refused"), "warning": ("fail", "Held back"), "info": ("note", "Set aside")}
BATCH_MARKS: Final = {"critical": ("fail", "Refused"), "warning": ("fail", "Warns"), "info": ("note", "Noted")}


class Slice(NamedTuple):
    """A part of the stacked bar, and its row in the table below. `start` and `width` are in percent."""

    key: str
    name: str
    meaning: str
    rows: int
    share: float
    start: float
    width: float


class ReasonRow(NamedTuple):
    """A reason, the number of rows that have it, its texts, and which rows it was.

    `ids_title` is empty where the run keeps no ids; `ids_note` says why some are not listed.
    """

    code: str
    rows: int
    meaning: str
    remedy: str
    ids: Sequence[str]
    ids_title: str
    ids_note: str


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

    `held` are the rows of which it is the first rule that they break; None where that is not known. `place` is the id
    of the element that says what to do; empty where there is nothing to do.
    """

    rule: QualityRule
    held: int | None
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
        *((status, status_words(facts.run.mode, status), counts[status]) for status in STATUS_ORDER),
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


def reason_rows_of(facts: Facts) -> tuple[list[ReasonRow], list[ReasonRow]]:
    """Return the reasons that need a look, and those that are only on record; most rows first."""
    on_record = _reasons_on_record(facts)
    found = sorted(facts.by_reason.items(), key=lambda item: (-item[1], item[0]))
    rows = [_reason_row(facts, code, count) for code, count in found]
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


def look_sum_of(facts: Facts) -> str:
    """Return the sum of the rows that need a look, and of those in doubt, in words; empty where there is none."""
    found = {status: facts.counts[status] for status in NEEDS_A_LOOK if facts.counts[status]}
    total = sum(found.values())
    parts = [f"{'all' if number == total else f'{number:,}'} {status}" for status, number in found.items()]
    look = counted(total, "row needs", "rows need")
    doubt = counted(facts.counts[Status.IN_DOUBT], "row has", "rows have")
    sentences = [
        f"{look} a look: {listed(parts)}." if parts else "",
        f"{doubt} an unknown outcome." if facts.counts[Status.IN_DOUBT] else "",
    ]
    return " ".join(filter(None, sentences))


def rule_rows_of(facts: Facts) -> list[RuleRow]:
    """Return the rules of the contract with their results in this run and in the last runs.

    Below the rules about rows stands what the contract cannot see: whether an identifier can be used once it is
    normalised, which transform finds out.
    """
    sparklines = sparklines_of(facts) if len(facts.past_runs) > 1 else {}
    held = _held_by_reason(facts)
    rows, is_own_told = [], False
    for place, rule in enumerate(facts.rules):
        known = held is not None and not rule.is_about_batch and not (rule.reason == Reason.OWN_RULE and is_own_told)
        is_own_told = is_own_told or _is_own_row_rule(rule)
        sparkline = sparklines.get((rule.reason, rule.words))
        rows.append(
            _rule_row(
                rule,
                place,
                sparkline,
                held=held.get(rule.reason, 0) if held is not None and known else None,
                is_explained=rule.reason in facts.by_reason,
            )
        )
    return rows


def late_rule_row_of(facts: Facts) -> RuleRow | None:
    """Return what transform found out about the identifiers of the rows that passed the contract."""
    if not facts.accepted:
        return None
    late = facts.held_back_late
    rule = QualityRule(
        expectation="transform",
        reason=Reason.NO_IDENTIFIER,
        description="what identifies the person is usable once it is normalised: checked by transform",
        severity="warning",
        checked=facts.accepted,
        failed=late,
        success=not late,
        observed=None,
    )
    is_known = _held_by_reason(facts) is not None
    return _rule_row(rule, 0, None, held=facts.unusable if is_known else None, is_explained=bool(facts.unusable))


def quarantine_sum_of(facts: Facts) -> str:
    """Say who quarantined how many rows, so that the contract's figures and those of the run agree."""
    quarantined, late = facts.counts[Status.QUARANTINED], facts.unusable
    if refused_rule(facts) and not quarantined:
        return "The contract refused all rows, so that none is held back for itself."
    if not quarantined or not facts.rules:
        return ""
    if not late:
        return f"The contract quarantined {counted(quarantined, 'row', 'rows')}; transform found no other."
    return (
        f"The contract quarantined {counted(quarantined - late, 'row', 'rows')}, and transform {late:,} more, since "
        f"none of their identifiers was usable: {quarantined:,} quarantined in all."
    )


def _held_by_reason(facts: Facts) -> dict[str, int] | None:
    """Return the rows that the contract held back by their reason, which is the first rule that a row breaks.

    None where rows are not counted yet. Rows that transform held back, and those that expired in the ledger without a
    new look, are not the contract's.
    """
    is_counted = facts.run.is_audited or facts.run.mode is Mode.LIVE
    if not is_counted or (refused_rule(facts) and not facts.by_reason):
        return None
    not_by_contract = {Reason.NO_IDENTIFIER: facts.unusable, Reason.EVENT_TOO_OLD: facts.left_behind}
    return {
        code: number - not_by_contract.get(Reason(code), 0) if code in set(Reason) else number
        for code, number in facts.by_reason.items()
    }


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


def _visible_widths(shares: Sequence[float]) -> list[float]:
    """Widen the shares that are too thin to be seen, and narrow the others, so that the sum stays 100."""
    thin = [share for share in shares if share < THINNEST_SLICE]
    if not thin:
        return list(shares)
    room = (100 - len(thin) * THINNEST_SLICE) / (100 - sum(thin))
    return [THINNEST_SLICE if share < THINNEST_SLICE else share * room for share in shares]


def _reasons_on_record(facts: Facts) -> set[str]:
    """Return the reasons that need no action. Unmapped stages are among them if the pipeline skips them."""
    codes: set[str] = {Reason.OPTED_OUT, Reason.EVENT_TOO_OLD, Reason.SENT_WITHOUT_LEAD_ID}
    is_unmapped_skipped = facts.counts[Status.SKIPPED] > facts.by_reason.get(Reason.OPTED_OUT, 0)
    return codes | {Reason.STAGE_UNMAPPED} if is_unmapped_skipped else codes


def _words_of(code: str, facts: Facts) -> tuple[str, str]:
    text = explain_reason(code)
    own = [rule.description for rule in facts.rules if rule.failed and _is_own_row_rule(rule) and code == rule.reason]
    return " ".join([text.meaning, *([f"Broken here: {'; '.join(own)}."] if own else [])]), text.remedy


def _reason_row(facts: Facts, code: str, count: int) -> ReasonRow:
    meaning, remedy = _words_of(code, facts)
    ids, title, note = _ids_of(facts, code, count)
    return ReasonRow(code, count, meaning, remedy, ids, title, note)


def _ids_of(facts: Facts, code: str, count: int) -> tuple[Sequence[str], str, str]:
    """Return the transition ids of the rows with a reason, what to call the list, and why some rows are not in it."""
    if facts.run.mode is not Mode.LIVE:
        return (), "", ""
    found = facts.listed_rows.get(code, ListedRows((), 0, 0, 0))
    shown = len(found.ids) + found.hidden
    title = counted(found.with_id, "transition id", "transition ids")
    notes = [
        (
            found.hidden,
            "is hidden, since it looks like personal data",
            "are hidden, since they look like personal data",
        ),
        (found.rows - found.with_id, "row has no id", "rows have no id"),
        (count - found.rows, "row has been taken over or settled since", "rows have been taken over or settled since"),
    ]
    note = ". ".join(counted(number, one, many) for number, one, many in notes if number > 0)
    latest = f"The latest {shown:,} of {title}" if shown < found.with_id else title
    return found.ids, latest if found.with_id else "", f"{note}." if note else ""


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


def _rule_row(
    rule: QualityRule, place: int, sparkline: Sparkline | None, *, held: int | None, is_explained: bool
) -> RuleRow:
    words = BATCH_SEVERITY_WORDS if rule.is_about_batch else SEVERITY_WORDS
    severity = words.get(rule.severity, Words(rule.severity, ""))
    observed = (rule.observed or "").removeprefix("not judged: ")  # the mark says so
    if rule.success:
        is_judged = rule.checked or (rule.is_about_batch and rule.expectation != NOT_JUDGED)
        mark, result = ("pass", "Holds") if is_judged else ("none", "Not judged" if rule.is_about_batch else "No row")
        return RuleRow(rule, held, observed, mark, result, severity, "", sparkline)
    mark, result = (BATCH_MARKS if rule.is_about_batch else ROW_MARKS).get(rule.severity, ("fail", rule.severity))
    explained = f"reason-{rule.reason}" if is_explained and mark == "fail" else ""
    where = f"rule-{place}" if rule.is_about_batch else explained
    return RuleRow(rule, held, observed, mark, result, severity, where, sparkline)
