"""The data contract: what validate expects of the staged rows, as Great Expectations expectations.

Rules about a row: a row that breaks one is held back with the rule's status and reason. The order matters: a row that
breaks several rules gets the status and reason of the first.

Rules about the batch: what they are measured against comes from the runs before. The severity of a broken one decides
whether it stops the run.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from crm_to_meta.validate import gx_setup  # noqa: F401 - before Great Expectations

# isort: split
import great_expectations.expectations as gxe
from great_expectations.exceptions.exceptions import GreatExpectationsError
from great_expectations.expectations.registry import get_expectation_impl
from great_expectations.expectations.row_conditions import Column
from pydantic.v1 import ValidationError

from crm_to_meta.errors import PipelineFileError
from crm_to_meta.meta.lead_id import LEAD_ID_PATTERN
from crm_to_meta.models import BatchReason, Reason, Status
from crm_to_meta.validate.usual_rows import Batch, expected_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from great_expectations.expectations.expectation import Expectation

    from crm_to_meta.pipeline.settings import OwnRule, Pipeline
    from crm_to_meta.validate.gx_pushdown import Outcome

OFF: Final = "off"
_UNMAPPED: Final = {  # `unmapped_stages`: status and severity
    "skip": (Status.SKIPPED, "info"),
    "quarantine": (Status.QUARANTINED, "warning"),
    "fail": (Status.QUARANTINED, "critical"),
}


@dataclass(frozen=True, slots=True)
class RowRule:
    """A rule about a row: a row that breaks it gets `status` and `reason`, the others go on."""

    reason: Reason
    description: str
    expectation: Expectation
    status: Status = Status.QUARANTINED
    severity: str = "warning"


class Measure(NamedTuple):
    """What capi.quality says of a rule: rows it was applied to, rows that break it, a figure in words."""

    checked: int
    failed: int
    observed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRule:
    """A rule about the batch as a whole.

    Attributes:
        reason: what is odd about a batch that breaks it.
        severity: what follows where it is broken; `OFF` is not in the contract.
        description: the rule as a sentence.
        expectation: what Great Expectations checks.
        measure: makes the figures of capi.quality from what Great Expectations found.
        why_not: why it is not judged in this run; empty where it is.
        from_rows: arguments of the expectation that came from the data, and so are not shown.
    """

    reason: BatchReason | Reason
    severity: str
    description: str
    expectation: Expectation
    measure: Callable[[Outcome], Measure]
    why_not: str = ""
    from_rows: tuple[str, ...] = ()


# --- The contract -----------------------------------------------------------------------------------------------------


def row_rules(pipeline: Pipeline, now: datetime) -> list[RowRule]:
    """Return the contract for the rows of one run.

    Args:
        pipeline: gives the tolerances and what happens to unmapped stages.
        now: the moment that ages are measured against.
    """
    latest = _iso(now + timedelta(seconds=pipeline.quality.future_tolerance_seconds))
    oldest = _iso(now - pipeline.delivery.max_event_age)
    has_id, has_stage, has_value = (Column(name).is_not_null() for name in ("transition_id", "stage", "value"))
    # fmt: off
    return [
        RowRule(Reason.OPTED_OUT, "the lead has not opted out", _is("opted_out", False), Status.SKIPPED, "info"),
        RowRule(Reason.TRANSITION_ID_MISSING, "every transition has an id", _is_there("transition_id")),
        RowRule(Reason.TRANSITION_ID_DUPLICATE, "a transition id is used once", _is("occurrence", 1, where=has_id)),
        RowRule(Reason.STAGE_MISSING, "every transition has a stage", _is_there("stage")),
        RowRule(Reason.STAGE_UNMAPPED, "the stage is in the pipeline's stage map",
                _is_there("event_name", where=has_stage), *_UNMAPPED[pipeline.unmapped_stages]),
        RowRule(Reason.EVENT_TIME_MISSING, "every transition has an event time", _is("has_event_time", True)),
        RowRule(Reason.EVENT_TIME_INVALID, "the event time is a point in time",
                _is_there("event_time", where=_is_true("has_event_time"))),
        RowRule(Reason.EVENT_TIME_FUTURE, "the event time is not in the future",
                gxe.ExpectColumnValuesToBeBetween(column="event_time", max_value=latest)),
        RowRule(Reason.EVENT_TOO_OLD, "the event is young enough for Meta (7 days less the margin)",
                gxe.ExpectColumnValuesToBeBetween(column="event_time", min_value=oldest), Status.EXPIRED, "info"),
        RowRule(Reason.LEAD_ID_INVALID, "a lead id is 15 to 17 digits, the first not 0",
                gxe.ExpectColumnValuesToMatchRegex(column="lead_id", regex=f"^{LEAD_ID_PATTERN}$")),
        RowRule(Reason.EVENT_BEFORE_LEAD, "the event is not before the lead was made",
                gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="event_time", column_B="lead_created_at",
                                                            or_equal=True, ignore_row_if="either_value_is_missing")),
        RowRule(Reason.VALUE_INVALID, "a value is a number", _is_there("value", where=_is_true("has_value"))),
        RowRule(Reason.VALUE_WITHOUT_CURRENCY, "a value has a currency code of three letters",
                _is_there("currency", where=has_value)),
        RowRule(Reason.NO_IDENTIFIER, "the row carries something that identifies a person",
                _is("has_identifier", True)),
        *(RowRule(Reason.OWN_RULE, own_description(rule), own_expectation(pipeline, number), severity=rule.severity)
          for number, rule in enumerate(pipeline.quality.expectations) if rule.quarantine),
    ]
    # fmt: on


def batch_rules(pipeline: Pipeline, batch: Batch) -> list[BatchRule]:
    """Return the contract for the batch of one run, without the rules that are switched off."""
    quality, late, fresh = pipeline.quality, pipeline.quality.late_rows, pipeline.quality.freshness
    too_few = f"fewer than {quality.min_rows_to_judge} rows" if batch.rows < quality.min_rows_to_judge else ""
    not_daily = "" if batch.is_sweep else "a backfill or a day picked by hand"
    usual = expected_rows(quality.rows, batch, zone=pipeline.zone, worth_judging=quality.min_rows_to_judge)
    shares = (
        (BatchReason.LEAD_IDS_FEW, quality.lead_ids, "lead_id", "Meta's lead id"),
        (BatchReason.EMAILS_FEW, quality.emails, "email", "an email address"),
        (BatchReason.PHONES_FEW, quality.phones, "phone", "a phone number"),
    )
    rules = [
        BatchRule(
            reason=BatchReason.ROWS_UNEXPECTED,
            severity=quality.rows.severity,
            description=usual.description,
            expectation=gxe.ExpectTableRowCountToBeBetween(min_value=usual.fewest, max_value=usual.most),
            measure=lambda _: Measure(batch.rows, 0, f"{batch.rows:,} rows"),
            why_not=usual.why_not,
        ),
        *(
            BatchRule(
                reason=reason,
                severity=settings.severity,
                description=f"at least {settings.at_least:.0%} of the rows carry {what}",
                expectation=gxe.ExpectTableRowCountToBeBetween(
                    min_value=ceil(settings.at_least * batch.rows),
                    row_condition=Column(column).is_not_null() & (Column(column) != ""),
                ),
                measure=lambda outcome: _measure_share(batch, outcome),
                why_not=too_few,
            )
            for reason, settings, column, what in shares
        ),
        BatchRule(
            reason=BatchReason.ROWS_LATE,
            severity=late.severity,
            description=f"at most {late.at_most:.0%} of the rows are more than {late.hours} hours late",
            expectation=gxe.ExpectColumnValuesToBeBetween(
                column="event_time",
                min_value=_iso(batch.window_end - timedelta(hours=late.hours)),
                mostly=round(1 - late.at_most, 2),
            ),
            measure=_measure_rows,
            why_not=too_few or not_daily or _not_following_on(batch),
        ),
        BatchRule(
            reason=BatchReason.STAGES_NEW,
            severity=quality.new_stages.severity,
            description="every stage is in the stage map or was met before",
            expectation=gxe.ExpectColumnValuesToBeInSet(
                column="stage", value_set=sorted(batch.known_stages | set(pipeline.stages))
            ),
            measure=_measure_rows,
            why_not="" if batch.known_stages else "no run of this pipeline has gone through yet",
            from_rows=("value_set",),
        ),
        BatchRule(
            reason=BatchReason.ROWS_STALE,
            severity=fresh.severity,
            description=f"the newest row is at most {fresh.hours} hours older than the end of the window",
            expectation=gxe.ExpectColumnMaxToBeBetween(
                column="event_time",
                min_value=_iso(batch.window_end - timedelta(hours=fresh.hours)),
                # Rows are numbered in the order of time: one of the future does not hide that the source has stopped.
                row_condition=Column("row_no") <= batch.rows_until_now,
            ),
            measure=lambda outcome: _measure_newest(batch, outcome),
            why_not=too_few or not_daily,
        ),
        *(
            BatchRule(
                reason=Reason.OWN_RULE,
                severity=rule.severity,
                description=own_description(rule),
                expectation=own_expectation(pipeline, number),
                measure=_measure_rows,
                why_not="no rows" if not batch.rows and "column" in rule.type else "",
            )
            for number, rule in enumerate(quality.expectations)
            if not rule.quarantine
        ),
    ]
    return [rule for rule in rules if rule.severity != OFF]


# --- Expectations -----------------------------------------------------------------------------------------------------


def _is_there(column: str, *, where: Any = None) -> Expectation:
    return gxe.ExpectColumnValuesToNotBeNull(column=column, row_condition=where)


def _is(column: str, value: Any, *, where: Any = None) -> Expectation:
    return gxe.ExpectColumnValuesToBeInSet(column=column, value_set=[value], row_condition=where)


def _is_true(column: str) -> Any:
    return Column(column) == True  # noqa: E712 - builds a condition


def own_expectation(pipeline: Pipeline, number: int) -> Expectation:
    """Return an expectation of the pipeline file.

    Raises:
        PipelineFileError: Great Expectations does not take its arguments.
    """
    rule = pipeline.quality.expectations[number]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ways of writing a row_condition that go out of use
            expectation: Expectation = get_expectation_impl(rule.type)(**rule.kwargs)
    except (GreatExpectationsError, ValidationError, ValueError, TypeError) as error:
        arguments = [str(part["loc"][0]) for part in error.errors()] if isinstance(error, ValidationError) else []
        named = f" `{arguments[0]}`" if arguments and arguments[0] in rule.kwargs else "s"
        raise PipelineFileError(
            f"include/pipelines/{pipeline.name}.yaml: key `quality.expectations.{number}.kwargs`: {rule.type} does not "
            f"take its argument{named} as written; fix it (docs/data-quality.md)."
        ) from None
    return expectation


def own_description(rule: OwnRule) -> str:
    """Return the rule in words: the file's own, or type and column."""
    columns = [str(rule.kwargs[name]) for name in ("column", "column_A", "column_B") if name in rule.kwargs]
    return rule.description or " ".join([rule.type.replace("_", " "), *columns])


def _not_following_on(batch: Batch) -> str:
    if batch.follows_on is None:
        return "the first run of this pipeline"
    return "" if batch.follows_on else "the run before left rows over, or had other settings"


def _iso(moment: datetime) -> str:
    return moment.isoformat()


# --- Figures ----------------------------------------------------------------------------------------------------------


def _measure_rows(outcome: Outcome) -> Measure:
    if not outcome.checked:  # no row, or an expectation that does not count rows
        return Measure(0, 0, "as expected" if outcome.success else "not as expected")
    return Measure(outcome.checked, outcome.failed, f"{outcome.failed / outcome.checked:.1%} of the rows")


def _measure_share(batch: Batch, outcome: Outcome) -> Measure:
    present = int(outcome.observed or 0)
    return Measure(batch.rows, batch.rows - present, f"{present / batch.rows:.1%} of the rows")


def _measure_newest(batch: Batch, outcome: Outcome) -> Measure:
    if not isinstance(outcome.observed, datetime):
        return Measure(batch.rows, 0, "no row with a time")
    hours = max((batch.window_end - outcome.observed.astimezone(UTC)) / timedelta(hours=1), 0)
    return Measure(batch.rows, 0, f"the newest is {hours:,.0f} hours old")
