"""Render the report of a run as one self-contained HTML page with counts, ids and names.

The page loads nothing, runs no script and contains no value of a row. `facts` reads the facts, `headline` words the
headline and the notices, `funnel`, `view` and `trend` prepare tables and charts, and `templates/report.html` lays out
the page. Its colours follow `color-scheme`, so that a page around it may choose light or dark.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any

from crm_to_meta.models import Status
from crm_to_meta.report import headline, view
from crm_to_meta.report.facts import MAX_FAILED_REQUESTS, read_facts, reading_at_once
from crm_to_meta.report.funnel import funnel_of
from crm_to_meta.report.layout import make_environment
from crm_to_meta.report.trend import trend_of
from crm_to_meta.report.words import MODE_WORDS, OUTCOME_WORDS, STATE_NAMES

if TYPE_CHECKING:
    from crm_to_meta.report.facts import Facts
    from crm_to_meta.warehouse import Connection


def render_report(connection: Connection, run_key: str, *, csv_url: str | None = None) -> str:
    """Return the page of a run in any state.

    Args:
        connection: to the warehouse; read only.
        run_key: a key of capi.run.
        csv_url: where the page finds the rows behind the reasons (`write_reason_csv`); without it, it has no such link.

    Raises:
        ConfigurationError: there is no such run.
        WarehouseError: a statement failed.
    """
    with reading_at_once(connection):
        facts = read_facts(connection, run_key)
    return make_environment().get_template("report.html").render(_shown(facts), csv_url=csv_url)


def _shown(facts: Facts) -> dict[str, Any]:
    """Return the variables of the template."""
    look, on_record = view.reason_rows_of(facts)
    field_rows, rows_read = view.field_rows_of(facts)
    rule_rows = view.rule_rows_of(facts)
    run = facts.run
    return {
        "facts": facts,
        "run": run,
        "utc": UTC,
        "moment": headline.moment_in_words,
        "headline": headline.headline_of(facts),
        "notices": headline.notices_of(facts),
        "window": headline.window_of(facts),
        "state_name": STATE_NAMES[run.state],
        "state_tone": headline.tone_of(facts),
        "mode_name": MODE_WORDS[run.mode].name,
        "took_s": ((run.finished_at or run.read_at) - run.started_at).total_seconds(),
        "slices": view.slices_of(facts),
        "thinnest_slice": view.THINNEST_SLICE,
        "absent_statuses": view.absent_statuses(facts),
        "funnel": funnel_of(facts),
        "look": look,
        "look_count": sum(facts.counts[status] for status in headline.NEEDS_A_LOOK),
        "doubt_count": facts.counts[Status.IN_DOUBT],
        "is_refused": headline.refused_rule(facts) is not None,
        "look_sum": view.look_sum_of(facts),
        "on_record": on_record,
        "unexplained": view.unexplained_count(facts, look),
        "field_rows": field_rows,
        "rows_read": rows_read,
        "row_rules": [row for row in rule_rows if not row.rule.is_about_batch],
        "late_rule": view.late_rule_row_of(facts),
        "batch_rules": [row for row in rule_rows if row.rule.is_about_batch],
        "quarantine_sum": view.quarantine_sum_of(facts),
        "oddities": view.oddities_of(rule_rows),
        "step_rows": view.step_rows_of(run.timings),
        "outcome_words": OUTCOME_WORDS,
        "requests_total": sum(row.requests for row in facts.outcomes),
        "failed_total": sum(row.requests for row in facts.outcomes if row.outcome not in {"sending", "delivered"}),
        "max_failed_requests": MAX_FAILED_REQUESTS,
        "trend": trend_of(facts),
    }
