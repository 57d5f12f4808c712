"""The data contract: one line, one reason code and one severity per rule, as Great Expectations expectations.

Each rule is used twice: for the verdict on the batch, and to hold back exactly the rows that break it. The order
matters: a row that breaks several rules gets the reason of the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import great_expectations.expectations as gxe
from great_expectations.expectations.row_conditions import Column

from crm_to_meta.models import Reason, Status

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

    from crm_to_meta.pipeline import Pipeline

LEAD_ID_PATTERN: Final = "^[0-9]{15,17}$"  # Meta's lead id: "Payload Specification"


@dataclass(frozen=True, slots=True)
class RowRule:
    """A rule about a row: a failing row gets `status` and `reason`, the others go on."""

    reason: Reason
    status: Status
    description: str
    expectation: Expectation


def row_rules(pipeline: Pipeline, now: datetime) -> list[RowRule]:
    """Return the contract for the rows of one run.

    Args:
        pipeline: gives the tolerances and what happens to unmapped stages.
        now: the moment that ages are measured against.
    """
    held_back, expired, skipped = Status.QUARANTINED, Status.EXPIRED, Status.SKIPPED
    unmapped = skipped if pipeline.unmapped_stages == "skip" else held_back
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
                expect.ExpectColumnValuesToNotBeNull(column="event_name", severity="warning",
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
        RowRule(Reason.VALUE_WITHOUT_CURRENCY, held_back, "a value has a currency",
                expect.ExpectColumnValuesToNotBeNull(column="currency", severity="warning",
                                                     row_condition=Column("value").is_not_null())),
        RowRule(Reason.NO_IDENTIFIER, held_back, "the row carries something that identifies a person",
                expect.ExpectColumnValuesToBeInSet(column="has_identifier", value_set=[True], severity="warning")),
    ]
    # fmt: on


def _iso(moment: datetime) -> str:
    return moment.isoformat()
