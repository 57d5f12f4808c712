"""Render the report of a run as one self-contained HTML page with counts, ids and names.

The page loads nothing, runs no script and contains no value of a row. `facts` reads the facts, `headline` words the
headline and the notices, `view` and `trend` prepare tables and charts, and `templates/report.html` lays out the page.
"""

from __future__ import annotations

from datetime import UTC
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from psycopg.pq import TransactionStatus

from crm_to_meta.report import headline, view
from crm_to_meta.report.facts import MAX_FAILED_REQUESTS, read_facts
from crm_to_meta.report.trend import trend_of
from crm_to_meta.report.words import MODE_WORDS, OUTCOME_WORDS, STATE_NAMES
from crm_to_meta.warehouse import Connection, execute

if TYPE_CHECKING:
    from crm_to_meta.report.facts import Facts

TEMPLATES_FOLDER: Final = Path(__file__).resolve().parent / "templates"
SECONDS_PER_MINUTE: Final = 60
SMALLEST_SHARE: Final = 0.001


def render_report(connection: Connection, run_key: str) -> str:
    """Return the page of a run in any state.

    Args:
        connection: to the warehouse; read only.
        run_key: a key of capi.run.

    Raises:
        ConfigurationError: there is no such run.
        WarehouseError: a statement failed.
    """
    is_free = connection.info.transaction_status == TransactionStatus.IDLE
    with connection.transaction():
        if is_free:
            execute(connection, "report/begin_snapshot")
        facts = read_facts(connection, run_key)
    return _environment().get_template("report.html").render(_shown(facts))


def number(value: float) -> str:
    """Return a whole number with thousands separators."""
    return f"{value:,.0f}"


def percent(share: float) -> str:
    """Return a share with one decimal. Only nothing is shown as 0%, and only all as 100%."""
    if 0 < share < SMALLEST_SHARE:
        return "< 0.1%"
    if 1 - SMALLEST_SHARE < share < 1:
        return "> 99.9%"
    return f"{share:.1%}" if 0 < share < 1 else f"{share:.0%}"


def prose(text: str) -> list[tuple[bool, str]]:
    """Split a text at its backticks; return each part with whether it is code."""
    return [(position % 2 == 1, part) for position, part in enumerate(text.split("`"))]


def duration(seconds: float) -> str:
    """Return a duration in its two largest units."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < SECONDS_PER_MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), SECONDS_PER_MINUTE)
    hours, minutes_left = divmod(minutes, SECONDS_PER_MINUTE)
    return f"{hours:,} h {minutes_left} min" if hours else f"{minutes} min {rest} s"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "percent": percent,
        "duration": duration,
        "prose": prose,
        "moment": headline.moment_in_words,
    }
    return environment


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
        "headline": headline.headline_of(facts),
        "notices": headline.notices_of(facts),
        "window": headline.window_of(facts),
        "state_name": STATE_NAMES[run.state],
        "mode_name": MODE_WORDS[run.mode].name,
        "took_s": ((run.finished_at or run.read_at) - run.started_at).total_seconds(),
        "slices": view.slices_of(facts),
        "thinnest_slice": view.THINNEST_SLICE,
        "absent_statuses": view.absent_statuses(facts),
        "funnel": view.funnel_of(facts),
        "look": look,
        "on_record": on_record,
        "unexplained": view.unexplained_count(facts, look),
        "field_rows": field_rows,
        "rows_read": rows_read,
        "row_rules": [row for row in rule_rows if not row.rule.is_about_batch],
        "batch_rules": [row for row in rule_rows if row.rule.is_about_batch],
        "oddities": view.oddities_of(rule_rows),
        "step_rows": view.step_rows_of(run.timings),
        "outcome_words": OUTCOME_WORDS,
        "failed_total": sum(row.requests for row in facts.outcomes if row.outcome not in {"sending", "delivered"}),
        "max_failed_requests": MAX_FAILED_REQUESTS,
        "trend": trend_of(facts),
    }
