"""The lines of capi.quality: for each rule, counts and words that say how it did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crm_to_meta.models import NOT_JUDGED, BatchReason, Reason

if TYPE_CHECKING:
    from crm_to_meta.pipeline.settings import Pipeline
    from crm_to_meta.validate.contract import BatchRule, RowRule
    from crm_to_meta.validate.gx_pushdown import Outcome


@dataclass(frozen=True, kw_only=True)
class QualityLine:
    """A row of capi.quality; rules about a row observe nothing."""

    expectation: str
    column_name: str | None
    reason: Reason | BatchReason
    description: str
    severity: str
    checked: int
    failed: int
    success: bool
    observed: str | None

    def is_broken(self, severity: str) -> bool:
        """Say whether a rule of this severity is broken."""
        return self.severity == severity and not self.success


def line_of_rows(rule: RowRule, outcome: Outcome) -> QualityLine:
    """Return the line of a rule about rows."""
    return QualityLine(
        **_expectation_of(rule.expectation),
        reason=rule.reason,
        description=rule.description,
        severity=rule.severity,
        checked=outcome.checked,
        failed=outcome.failed,
        success=outcome.success,
        observed=None,
    )


def line_of_batch(rule: BatchRule, outcome: Outcome | None) -> QualityLine:
    """Return the line of a rule about the batch; without an outcome it was not judged."""
    checked, failed, observed = rule.measure(outcome) if outcome else (0, 0, f"not judged: {rule.why_not}")
    return QualityLine(
        **(_expectation_of(rule.expectation) if outcome else {"expectation": NOT_JUDGED, "column_name": None}),
        reason=rule.reason,
        description=rule.description,
        severity=rule.severity,
        checked=checked,
        failed=failed,
        success=outcome.success if outcome else True,
        observed=observed,
    )


def line_of_quarantine(pipeline: Pipeline, *, staged: int, quarantined: int) -> QualityLine:
    """Return the line about the share of quarantined rows, which Great Expectations does not see."""
    limits = pipeline.quality
    is_refused = staged >= limits.min_rows_to_judge and quarantined > limits.max_quarantined_share * staged
    return QualityLine(
        expectation="max_quarantined_share",
        column_name=None,
        reason=BatchReason.QUARANTINED_MANY,
        description=f"at most {limits.max_quarantined_share:.0%} of the rows are quarantined",
        severity="critical",
        checked=staged,
        failed=quarantined,
        success=not is_refused,
        observed=f"{quarantined / staged:.1%}: {quarantined:,} of {staged:,} rows" if staged else "no rows",
    )


def _expectation_of(expectation: Any) -> dict[str, Any]:
    column = getattr(expectation, "column", None) or getattr(expectation, "column_A", None)
    return {"expectation": expectation.expectation_type, "column_name": column}
