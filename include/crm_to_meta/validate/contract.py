"""The data contract: one line, one reason code and one severity per rule, as Great Expectations expectations.

A rule about a row is used twice: for the verdict on the batch, and to hold back exactly the rows that break it. The
order matters: a row that breaks several rules gets the reason of the first. A rule about the batch is judged as a
whole; what it is measured against comes from the runs before.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Final, NamedTuple

from crm_to_meta.validate import gx_setup  # noqa: F401 - before Great Expectations

# isort: split
import great_expectations.expectations as gxe
from great_expectations.expectations.registry import get_expectation_impl
from great_expectations.expectations.row_conditions import Column
from pydantic.v1 import ValidationError

from crm_to_meta.errors import PipelineFileError
from crm_to_meta.models import BatchReason, Reason, Status
from crm_to_meta.validate.usual_rows import Batch, RowBounds, expected_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from great_expectations.expectations.expectation import Expectation

    from crm_to_meta.pipeline.settings import IdentifierShare, OwnRule, Pipeline
    from crm_to_meta.validate.gx_pushdown import Outcome

LEAD_ID_PATTERN: Final = "^[0-9]{15,17}$"  # Meta's lead id: "Payload Specification"
OFF: Final = "off"
IDENTIFIERS: Final = {"lead_id": "Meta's lead id", "email": "an email address", "phone": "a phone number"}


@dataclass(frozen=True, slots=True)
class RowRule:
    """A rule about a row: a failing row gets `status` and `reason`, the others go on."""

    reason: Reason
    status: Status
    description: str
    expectation: Expectation


class Measure(NamedTuple):
    """What capi.quality says of a rule: rows it was applied to, rows that break it, a figure in words."""

    checked: int
    failed: int
    observed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRule:
    """A rule about the batch as a whole.

    Without an expectation it is not judged in this run, and `why_not` says why.
    """

    reason: BatchReason | Reason
    severity: str
    description: str
    expectation: Expectation | None
    measure: Callable[[Outcome], Measure]
    why_not: str = ""
    from_rows: tuple[str, ...] = ()  # arguments of the expectation that came from the data


def row_rules(pipeline: Pipeline, now: datetime) -> list[RowRule]:
    """Return the contract for the rows of one run.

    Args:
        pipeline: gives the tolerances and what happens to unmapped stages.
        now: the moment that ages are measured against.
    """
    held_back, expired, skipped = Status.QUARANTINED, Status.EXPIRED, Status.SKIPPED
    unmapped = skipped if pipeline.unmapped_stages == "skip" else held_back
    unmapped_severity = {"skip": "info", "quarantine": "warning", "fail": "critical"}[pipeline.unmapped_stages]
    latest = _iso(now + timedelta(seconds=pipeline.quality.future_tolerance_seconds))
    oldest = _iso(now - pipeline.delivery.max_event_age)
    expect = gxe
    # fmt: off
    return [
        RowRule(Reason.OPTED_OUT, skipped, "the lead has not opted out",
                expect.ExpectColumnValuesToBeInSet(column="opted_out", value_set=[False], severity="info")),
        RowRule(Reason.TRANSITION_ID_MISSING, held_back, "every transition has an id",
                expect.ExpectColumnValuesToNotBeNull(column="transition_id", severity="warning")),
        RowRule(Reason.TRANSITION_ID_DUPLICATE, held_back, "a transition id is used once",
                expect.ExpectColumnValuesToBeInSet(column="occurrence", value_set=[1], severity="warning",
                                                   row_condition=Column("transition_id").is_not_null())),
        RowRule(Reason.STAGE_MISSING, held_back, "every transition has a stage",
                expect.ExpectColumnValuesToNotBeNull(column="stage", severity="warning")),
        RowRule(Reason.STAGE_UNMAPPED, unmapped, "the stage is in the pipeline's stage map",
                expect.ExpectColumnValuesToNotBeNull(column="event_name", severity=unmapped_severity,
                                                     row_condition=Column("stage").is_not_null())),
        RowRule(Reason.EVENT_TIME_MISSING, held_back, "every transition has an event time",
                expect.ExpectColumnValuesToBeInSet(column="has_event_time", value_set=[True], severity="warning")),
        RowRule(Reason.EVENT_TIME_INVALID, held_back, "the event time is a point in time",
                expect.ExpectColumnValuesToNotBeNull(column="event_time", severity="warning",
                                                     row_condition=Column("has_event_time") == True)),  # noqa: E712 - builds a condition
        RowRule(Reason.EVENT_TIME_FUTURE, held_back, "the event time is not in the future",
                expect.ExpectColumnValuesToBeBetween(column="event_time", max_value=latest, severity="warning")),
        RowRule(Reason.EVENT_TOO_OLD, expired, "the event is young enough for Meta (7 days less the margin)",
                expect.ExpectColumnValuesToBeBetween(column="event_time", min_value=oldest, severity="info")),
        RowRule(Reason.LEAD_ID_INVALID, held_back, "a lead id has 15-17 digits",
                expect.ExpectColumnValuesToMatchRegex(column="lead_id", regex=LEAD_ID_PATTERN, severity="warning")),
        RowRule(Reason.EVENT_BEFORE_LEAD, held_back, "the event is not before the lead was made",
                expect.ExpectColumnPairValuesAToBeGreaterThanB(column_A="event_time", column_B="lead_created_at",
                                                               or_equal=True, severity="warning",
                                                               ignore_row_if="either_value_is_missing")),
        RowRule(Reason.VALUE_INVALID, held_back, "a value is a number",
                expect.ExpectColumnValuesToNotBeNull(column="value", severity="warning",
                                                     row_condition=Column("has_value") == True)),  # noqa: E712 - builds a condition
        RowRule(Reason.VALUE_WITHOUT_CURRENCY, held_back, "a value has a currency code of three letters",
                expect.ExpectColumnValuesToNotBeNull(column="currency", severity="warning",
                                                     row_condition=Column("value").is_not_null())),
        RowRule(Reason.NO_IDENTIFIER, held_back, "the row carries something that identifies a person",
                expect.ExpectColumnValuesToBeInSet(column="has_identifier", value_set=[True], severity="warning")),
        *(RowRule(Reason.OWN_RULE, held_back, own_description(rule), own_expectation(pipeline, number))
          for number, rule in enumerate(pipeline.quality.expectations) if rule.quarantine),
    ]
    # fmt: on


def batch_rules(pipeline: Pipeline, batch: Batch) -> list[BatchRule]:
    """Return the contract for the batch of one run, without the rules that are switched off."""
    quality = pipeline.quality
    share = partial(_identifier_share, pipeline, batch)
    rules: list[tuple[str, Callable[[], BatchRule]]] = [
        (quality.rows.severity, partial(_expected_rows, pipeline, batch)),
        (quality.lead_ids.severity, partial(share, quality.lead_ids, BatchReason.LEAD_IDS_FEW, "lead_id")),
        (quality.emails.severity, partial(share, quality.emails, BatchReason.EMAILS_FEW, "email")),
        (quality.phones.severity, partial(share, quality.phones, BatchReason.PHONES_FEW, "phone")),
        (quality.late_rows.severity, partial(_late_rows, pipeline, batch)),
        (quality.new_stages.severity, partial(_new_stages, pipeline, batch)),
        (quality.freshness.severity, partial(_freshness, pipeline, batch)),
        *(
            (rule.severity, partial(_own_rule, pipeline, batch, number))
            for number, rule in enumerate(quality.expectations)
            if not rule.quarantine
        ),
    ]
    return [build() for severity, build in rules if severity != OFF]


def own_expectation(pipeline: Pipeline, number: int) -> Expectation:
    """Return an expectation of the pipeline file.

    Raises:
        PipelineFileError: Great Expectations does not take its arguments.
    """
    rule = pipeline.quality.expectations[number]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ways of writing a row_condition that go out of use
            expectation: Expectation = get_expectation_impl(rule.type)(**rule.kwargs, severity=rule.severity)
    except (ValidationError, ValueError, TypeError) as error:
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


def _own_rule(pipeline: Pipeline, batch: Batch, number: int) -> BatchRule:
    rule = pipeline.quality.expectations[number]
    why_not = "no rows" if not batch.rows and "column" in rule.type else ""
    return BatchRule(
        reason=Reason.OWN_RULE,
        severity=rule.severity,
        description=own_description(rule),
        expectation=None if why_not else own_expectation(pipeline, number),
        measure=_measure_rows,
        why_not=why_not,
    )


def _expected_rows(pipeline: Pipeline, batch: Batch) -> BatchRule:
    settings = pipeline.quality.rows
    bounds = expected_rows(settings, batch, zone=pipeline.zone, worth_judging=pipeline.quality.min_rows_to_judge)
    rule = partial(
        BatchRule,
        reason=BatchReason.ROWS_UNEXPECTED,
        severity=settings.severity,
        measure=lambda _: Measure(batch.rows, 0, f"{batch.rows:,} rows"),
    )
    if not isinstance(bounds, RowBounds):
        return rule(description="about as many rows as in past runs", expectation=None, why_not=bounds)
    limits = [
        *([f"at least {bounds.fewest:,}"] if bounds.fewest is not None else []),
        *([f"at most {bounds.most:,}"] if bounds.most is not None else []),
    ]
    return rule(
        description=f"{' and '.join(limits)} rows, going by past runs",
        expectation=gxe.ExpectTableRowCountToBeBetween(
            min_value=bounds.fewest, max_value=bounds.most, severity=settings.severity
        ),
    )


def _identifier_share(
    pipeline: Pipeline, batch: Batch, settings: IdentifierShare, reason: BatchReason, column: str
) -> BatchRule:
    def measure(outcome: Outcome) -> Measure:
        present = int(outcome.observed or 0)
        return Measure(batch.rows, batch.rows - present, f"{present / batch.rows:.1%} of the rows")

    why_not = _too_few(pipeline, batch)
    return BatchRule(
        reason=reason,
        severity=settings.severity,
        description=f"at least {settings.at_least:.0%} of the rows carry {IDENTIFIERS[column]}",
        expectation=None
        if why_not
        else gxe.ExpectTableRowCountToBeBetween(
            min_value=ceil(settings.at_least * batch.rows),
            row_condition=Column(column).is_not_null() & (Column(column) != ""),
            severity=settings.severity,
        ),
        measure=measure,
        why_not=why_not,
    )


def _late_rows(pipeline: Pipeline, batch: Batch) -> BatchRule:
    settings = pipeline.quality.late_rows
    why_not = _too_few(pipeline, batch) or _not_daily(batch) or _not_following_on(batch)
    return BatchRule(
        reason=BatchReason.ROWS_LATE,
        severity=settings.severity,
        description=f"at most {settings.at_most:.0%} of the rows are more than {settings.hours} hours late",
        expectation=None
        if why_not
        else gxe.ExpectColumnValuesToBeBetween(
            column="event_time",
            min_value=_iso(batch.window_end - timedelta(hours=settings.hours)),
            mostly=round(1 - settings.at_most, 2),
            severity=settings.severity,
        ),
        measure=_measure_rows,
        why_not=why_not,
    )


def _new_stages(pipeline: Pipeline, batch: Batch) -> BatchRule:
    settings = pipeline.quality.new_stages
    why_not = "" if batch.known_stages else "the first run of this pipeline"
    return BatchRule(
        reason=BatchReason.STAGES_NEW,
        severity=settings.severity,
        description="every stage is in the stage map or was met before",
        expectation=None
        if why_not
        else gxe.ExpectColumnValuesToBeInSet(
            column="stage", value_set=sorted(batch.known_stages | set(pipeline.stages)), severity=settings.severity
        ),
        measure=_measure_rows,
        why_not=why_not,
        from_rows=("value_set",),
    )


def _freshness(pipeline: Pipeline, batch: Batch) -> BatchRule:
    settings = pipeline.quality.freshness

    def measure(outcome: Outcome) -> Measure:
        if not isinstance(outcome.observed, datetime):
            return Measure(batch.rows, 0, "no row with a time")
        hours = max((batch.window_end - outcome.observed.astimezone(UTC)) / timedelta(hours=1), 0)
        return Measure(batch.rows, 0, f"the newest is {hours:,.0f} hours old")

    why_not = _too_few(pipeline, batch) or _not_daily(batch)
    return BatchRule(
        reason=BatchReason.ROWS_STALE,
        severity=settings.severity,
        description=f"the newest row is at most {settings.hours} hours older than the end of the window",
        expectation=None
        if why_not
        else gxe.ExpectColumnMaxToBeBetween(
            column="event_time",
            min_value=_iso(batch.window_end - timedelta(hours=settings.hours)),
            # Rows are numbered in the order of time: one of the future does not hide that the source has stopped.
            row_condition=Column("row_no") <= batch.rows_until_now,
            severity=settings.severity,
        ),
        measure=measure,
        why_not=why_not,
    )


def _measure_rows(outcome: Outcome) -> Measure:
    if not outcome.checked:  # no row, or an expectation that does not count rows
        return Measure(0, 0, "as expected" if outcome.success else "not as expected")
    return Measure(outcome.checked, outcome.failed, f"{outcome.failed / outcome.checked:.1%} of the rows")


def _too_few(pipeline: Pipeline, batch: Batch) -> str:
    fewest = pipeline.quality.min_rows_to_judge
    return f"fewer than {fewest} rows" if batch.rows < fewest else ""


def _not_daily(batch: Batch) -> str:
    return "" if batch.is_sweep else "a backfill or a day picked by hand"


def _not_following_on(batch: Batch) -> str:
    if batch.follows_on is None:
        return "the first run of this pipeline"
    return "" if batch.follows_on else "the run before left rows over, or had other settings"


def _iso(moment: datetime) -> str:
    return moment.isoformat()
