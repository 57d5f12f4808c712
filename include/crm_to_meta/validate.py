"""Validate: staged rows in, a verdict out. Great Expectations judges them inside the warehouse, without a copy.

Rows that break a rule are written down with their reason; the others go on. A batch that is bad as a whole raises after
everything is recorded, and before anything is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, LiteralString

import sqlalchemy as sa
from psycopg import sql
from psycopg.errors import UndefinedTable

from crm_to_meta.errors import BatchRefusedError, ConfigurationError, LawBrokenError, StagingLostError, WarehouseError
from crm_to_meta.expectations import RowRule, row_rules
from crm_to_meta.gx_pushdown import ROW_KEY, Outcome, check_table
from crm_to_meta.models import Mode, Shard, Status, staging_table_of, verdict_table_of
from crm_to_meta.warehouse import SCHEMA, Connection, execute, one_row, sqlalchemy_url, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crm_to_meta.pipeline import Pipeline

_PSYCOPG: Final[sa.Dialect] = sa.engine.url.make_url("postgresql+psycopg://").get_dialect()()
MAX_SHARDS: Final = 500  # Airflow refuses to map a task over more than 1,024 items ([core] max_map_length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """What validate hands on: how many rows go on and the shards they are in."""

    accepted: int
    held_back: int
    shards: list[Shard]


def validate(connection: Connection, pipeline: Pipeline, *, run_key: str, now: datetime | None = None) -> Validation:
    """Judge the staged rows of a run, record the verdict, and plan the shards of the rows.

    Args:
        connection: to the warehouse, in autocommit mode.
        pipeline: gives rules and thresholds.
        run_key: the run whose rows are judged.
        now: the moment that ages are measured against.

    Raises:
        BatchRefusedError: too many rows are bad; recorded, and nothing goes on.
        StagingLostError: the staged rows are not all there.
        ConfigurationError: an expectation could not be evaluated.
    """
    mode, staged = _require_staged_rows(connection, run_key)
    rules = row_rules(pipeline, now or datetime.now(UTC))
    try:
        outcomes = check_table(
            sqlalchemy_url(connection),
            schema=SCHEMA,
            table=staging_table_of(run_key),
            expectations=[rule.expectation for rule in rules],
        )
    except (ConfigurationError, WarehouseError):  # GX does not tell why: are the warehouse and the rows still there?
        _require_staged_rows(connection, run_key)
        raise
    with connection.transaction():
        execute(connection, "validate_forget_verdicts", table=table(verdict_table_of(run_key)))
        held_back = _record_verdicts(connection, run_key, rules, outcomes)
        quarantined = held_back.get(Status.QUARANTINED, 0)
        refused = _is_refused(pipeline, staged=staged, quarantined=quarantined)
        _record_quality(connection, pipeline, run_key, rules, outcomes, staged=staged, quarantined=quarantined)
        if mode is Mode.LIVE and not refused:
            verdict = table(verdict_table_of(run_key))
            execute(connection, "validate_settle_held_back", {"run_key": run_key}, verdict=verdict)
    if refused:
        raise BatchRefusedError(
            f"Run {run_key}: {quarantined} of {staged} rows are quarantined, more than "
            f"{pipeline.quality.max_quarantined_share:.0%} (quality.max_quarantined_share in "
            f"include/pipelines/{pipeline.name}.yaml). Nothing was sent and all rows stay pending; "
            "see capi.quality for the rules that failed, mend the source, and clear this run."
        )
    total = sum(held_back.values())
    shards = plan_shards(pipeline, run_key=run_key, rows=staged) if total < staged else []
    return Validation(accepted=staged - total, held_back=total, shards=shards)


def plan_shards(pipeline: Pipeline, *, run_key: str, rows: int) -> list[Shard]:
    """Cut rows 1..`rows` into shards of whole chunks: at most `MAX_SHARDS`, however many rows there are."""
    chunk_size = pipeline.delivery.chunk_size
    chunks = -(-rows // chunk_size)
    chunks_per_shard = max(pipeline.delivery.shard_chunks, -(-chunks // MAX_SHARDS))
    size = chunks_per_shard * chunk_size
    return [
        Shard(run_key=run_key, shard_no=number, first_row=first, last_row=min(first + size - 1, rows))
        for number, first in enumerate(range(1, rows + 1, size))
    ]


def _require_staged_rows(connection: Connection, run_key: str) -> tuple[Mode, int]:
    try:
        row = execute(connection, "validate_count_staged", {"run_key": run_key}, staging=_staging(run_key))
    except WarehouseError as error:
        if error.sqlstate != UndefinedTable.sqlstate:
            raise
        raise _staging_lost(run_key) from None
    mode, expected, staged = one_row(row)
    if staged != expected:
        raise _staging_lost(run_key)
    return Mode(mode), staged


def _staging_lost(run_key: str) -> StagingLostError:
    return StagingLostError(
        f"Run {run_key}: the staged rows are not all there: the warehouse was restarted after a crash, or the run was "
        "closed; clear the task `extract` of this run, or let the next scheduled run take the rows over."
    )


def _is_refused(pipeline: Pipeline, *, staged: int, quarantined: int) -> bool:
    limits = pipeline.quality
    return staged >= limits.min_rows_to_judge and quarantined > limits.max_quarantined_share * staged


def _record_verdicts(
    connection: Connection, run_key: str, rules: Sequence[RowRule], outcomes: Sequence[Outcome]
) -> dict[Status, int]:
    """Write down each failing row once, with the first rule that it breaks; return the rows per status."""
    failing = [
        sa.select(outcome.failing_rows.subquery().c[ROW_KEY], sa.literal(position, sa.Integer).label("position"))
        for position, outcome in enumerate(outcomes)
        if outcome.failing_rows is not None and outcome.failed
    ]
    if not failing:
        return {}
    query = sa.union_all(*failing).compile(dialect=_PSYCOPG, compile_kwargs={"render_postcompile": True})
    parameters = {
        **query.params,
        "reasons": [str(rule.reason) for rule in rules],
        "statuses": [str(rule.status) for rule in rules],
    }
    _require_complete_lists(connection, str(query), query.params, outcomes)
    counts = execute(
        connection,
        "validate_record_verdicts",
        parameters,
        failing=_raw(str(query)),
        verdict=table(verdict_table_of(run_key)),
        staging=_staging(run_key),
    )
    return {Status(status): rows for status, rows in counts}


def _require_complete_lists(connection: Connection, query: str, parameters: Any, outcomes: Sequence[Outcome]) -> None:
    """A verdict that was cut off must be impossible: the rows found are as many as GX counted, rule by rule."""
    counted = execute(connection, "validate_count_failing", parameters, failing=_raw(query)).fetchall()
    expected = {position: outcome.failed for position, outcome in enumerate(outcomes) if outcome.failed}
    if dict(counted) != expected:
        raise LawBrokenError(
            "The rows found for the failed expectations are not as many as Great Expectations counted."
        )


def _record_quality(
    connection: Connection,
    pipeline: Pipeline,
    run_key: str,
    rules: Sequence[RowRule],
    outcomes: Sequence[Outcome],
    *,
    staged: int,
    quarantined: int,
) -> None:
    execute(connection, "validate_forget_quality", {"run_key": run_key})
    for position, (rule, outcome) in enumerate(zip(rules, outcomes, strict=True)):
        execute(connection, "validate_record_quality", _quality_row(run_key, position, rule, outcome))
    share = {
        "run_key": run_key,
        "position": len(rules),
        "expectation": "max_quarantined_share",
        "column_name": None,
        "reason": "batch_refused",
        "description": f"at most {pipeline.quality.max_quarantined_share:.0%} of the rows are quarantined",
        "severity": "critical",
        "checked": staged,
        "failed": quarantined,
        "success": not _is_refused(pipeline, staged=staged, quarantined=quarantined),
        "observed": f"{quarantined / staged:.1%}" if staged else "no rows",
    }
    execute(connection, "validate_record_quality", share)
    execute(connection, "validate_record_verdict", {"run_key": run_key})


def _quality_row(run_key: str, position: int, rule: RowRule, outcome: Outcome) -> dict[str, Any]:
    expectation: Any = rule.expectation
    return {
        "run_key": run_key,
        "position": position,
        "expectation": expectation.expectation_type,
        "column_name": getattr(expectation, "column", None) or getattr(expectation, "column_A", None),
        "reason": rule.reason,
        "description": rule.description,
        "severity": str(expectation.severity.value),
        "checked": outcome.checked,
        "failed": outcome.failed,
        "success": outcome.success,
        "observed": None,
    }


def _staging(run_key: str) -> sql.Identifier:
    return table(staging_table_of(run_key))


def _raw(query: LiteralString) -> sql.SQL:
    """Return a query that SQLAlchemy compiled, with its placeholders, for use inside a statement of ours."""
    return sql.SQL(query)
