"""Validate: Great Expectations checks the staged rows inside the warehouse, without a copy.

Rows that break a rule are held back with their reason; the others go on. A batch that is bad as a whole raises after
everything is recorded, and before anything is sent.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, LiteralString

import sqlalchemy as sa
from psycopg import sql

from crm_to_meta.errors import BatchRefusedError, ConfigurationError, LawBrokenError, StagingLostError, WarehouseError
from crm_to_meta.models import Mode, Reason, Shard, Status, held_back_table_of, staging_table_of
from crm_to_meta.validate.contract import BatchRule, RowRule, batch_rules, row_rules
from crm_to_meta.validate.data_docs import write_data_docs
from crm_to_meta.validate.gx_pushdown import ROW_KEY, Outcome, Question, check_table
from crm_to_meta.validate.quality_record import QualityLine, line_of_batch, line_of_quarantine, line_of_rows
from crm_to_meta.validate.usual_rows import REACH, Batch, PastRun
from crm_to_meta.warehouse import SCHEMA, Connection, execute, one_row, sqlalchemy_url, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult

    from crm_to_meta.pipeline.settings import Pipeline

_PSYCOPG: Final[sa.Dialect] = sa.engine.url.make_url("postgresql+psycopg://").get_dialect()()
MAX_SHARDS: Final = 500  # Airflow refuses to map a task over more than 1,024 items ([core] max_map_length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """The result of validate: rows accepted and held back, rules broken with severity warning, and the shards to do."""

    accepted: int
    held_back: int
    warnings: list[str] = field(default_factory=list)
    shards: list[Shard]


def validate(connection: Connection, pipeline: Pipeline, *, run_key: str, now: datetime | None = None) -> Validation:
    """Check the staged rows of a run, record which are held back and how each rule did, and plan the shards.

    Args:
        connection: to the warehouse, in autocommit mode.
        pipeline: gives rules and thresholds.
        run_key: the run whose rows are judged.
        now: the moment that ages are measured against.

    Raises:
        BatchRefusedError: a critical rule failed; recorded, and nothing goes on.
        StagingLostError: the staged rows are not all there.
        ConfigurationError: an expectation could not be evaluated.
    """
    now = now or datetime.now(UTC)
    staged = _require_staged_rows(connection, run_key)
    batch = _describe_batch(connection, run_key, rows=staged, now=now)
    rows_judged, batch_judged, result = _ask(connection, pipeline, batch, run_key=run_key, now=now)
    with connection.transaction():
        execute(connection, "validate/set_session")
        held_back = _hold_back(connection, run_key, rows_judged)
        lines = [
            *(line_of_rows(rule, outcome) for rule, outcome in rows_judged),
            *(line_of_batch(rule, outcome) for rule, outcome in batch_judged),
            line_of_quarantine(pipeline, staged=staged, quarantined=held_back.get(Status.QUARANTINED, 0)),
        ]
        _record_quality(connection, run_key, lines, result)
        refused = [line for line in lines if line.is_broken("critical")]
        if batch.mode is Mode.LIVE and not refused:
            execute(connection, "validate/settle_held_back", {"run_key": run_key}, held_back=_held_back(run_key))
    if pipeline.quality.data_docs:
        write_data_docs(Path(pipeline.quality.data_docs, pipeline.name), result)
    if refused:
        raise _batch_refused(pipeline, run_key, refused)
    total = sum(held_back.values())
    shards = plan_shards(pipeline, run_key=run_key, rows=staged) if total < staged else []
    odd = [str(line.reason) for line in lines if line.observed is not None and line.is_broken("warning")]
    return Validation(accepted=staged - total, held_back=total, warnings=odd, shards=shards)


def plan_shards(pipeline: Pipeline, *, run_key: str, rows: int) -> list[Shard]:
    """Divide rows 1..`rows` into shards of whole chunks, at most `MAX_SHARDS` of them."""
    chunk_size = pipeline.delivery.chunk_size
    chunks = -(-rows // chunk_size)
    chunks_per_shard = max(pipeline.delivery.shard_chunks, -(-chunks // MAX_SHARDS))
    size = chunks_per_shard * chunk_size
    return [
        Shard(run_key=run_key, shard_no=number, first_row=first, last_row=min(first + size - 1, rows))
        for number, first in enumerate(range(1, rows + 1, size))
    ]


def _ask(
    connection: Connection, pipeline: Pipeline, batch: Batch, *, run_key: str, now: datetime
) -> tuple[list[tuple[RowRule, Outcome]], list[tuple[BatchRule, Outcome | None]], ExpectationSuiteValidationResult]:
    """Check all rules with Great Expectations at once; return each with its outcome, and the quality result."""
    of_rows, of_batch = row_rules(pipeline, now), batch_rules(pipeline, batch)
    questions = [
        *(_question(pipeline, rule, lists_rows=True) for rule in of_rows),
        *(_question(pipeline, rule, from_rows=rule.from_rows) for rule in of_batch if not rule.why_not),
    ]
    try:
        answers = check_table(
            sqlalchemy_url(connection),
            schema=SCHEMA,
            table=staging_table_of(run_key),
            questions=questions,
            run_name=run_key,
        )
    except (ConfigurationError, WarehouseError):  # are the warehouse and the rows still there?
        _require_staged_rows(connection, run_key)
        raise
    by_rows, by_batch = answers.outcomes[: len(of_rows)], iter(answers.outcomes[len(of_rows) :])
    return (
        list(zip(of_rows, by_rows, strict=True)),
        [(rule, None if rule.why_not else next(by_batch)) for rule in of_batch],
        answers.result,
    )


def _question(pipeline: Pipeline, rule: RowRule | BatchRule, **options: Any) -> Question:
    where = (
        f" of include/pipelines/{pipeline.name}.yaml (quality.expectations)" if rule.reason is Reason.OWN_RULE else ""
    )
    name = f'"{rule.description}"{where}'
    return Question(expectation=rule.expectation, name=name, severity=rule.severity, **options)


def _describe_batch(connection: Connection, run_key: str, *, rows: int, now: datetime) -> Batch:
    scope = {"run_key": run_key}
    staging = _staging(run_key)
    found = execute(connection, "validate/describe_batch", {**scope, "now": now}, staging=staging)
    mode, run_type, is_sweep, window_end, follows_on, rows_until_now = one_row(found)
    past_runs = execute(connection, "validate/list_past_runs", {**scope, "reach": REACH})
    return Batch(
        rows=rows,
        rows_until_now=rows_until_now,
        mode=Mode(mode),
        run_type=run_type,
        is_sweep=is_sweep,
        window_end=window_end,
        follows_on=follows_on,
        past_runs=[PastRun(*past) for past in past_runs],
        known_stages=frozenset(name for (name,) in execute(connection, "validate/list_known_stages", scope)),
    )


def _batch_refused(pipeline: Pipeline, run_key: str, refused: Sequence[QualityLine]) -> BatchRefusedError:
    rules = "; ".join(
        f"{line.reason} ({line.description}; here: {line.observed or f'{line.failed} rows break it'})"
        for line in refused
    )
    return BatchRefusedError(
        f"Run {run_key}: the batch breaks what include/pipelines/{pipeline.name}.yaml calls critical: {rules}. Nothing "
        "was sent and all rows stay pending; see capi.quality or the run's report, fix the source (or the rule), and "
        "clear this run."
    )


def _require_staged_rows(connection: Connection, run_key: str) -> int:
    row = execute(connection, "validate/count_staged", {"run_key": run_key}, staging=_staging(run_key))
    expected, staged = one_row(row)
    if staged != expected:
        raise StagingLostError.about(f"Run {run_key}: the staged rows are not all there")
    return int(staged)


def _hold_back(connection: Connection, run_key: str, judged: Sequence[tuple[RowRule, Outcome]]) -> dict[Status, int]:
    """Write down each failing row once, with the first rule that it breaks; return the rows per status."""
    execute(connection, "validate/forget_held_back", held_back=_held_back(run_key))
    failing = [
        sa.select(outcome.failing_rows.subquery().c[ROW_KEY], sa.literal(position, sa.Integer).label("position"))
        for position, (_, outcome) in enumerate(judged)
        if outcome.failing_rows is not None and outcome.failed
    ]
    if not failing:
        return {}
    query = sa.union_all(*failing).compile(dialect=_PSYCOPG, compile_kwargs={"render_postcompile": True})
    parameters = {
        **query.params,
        "reasons": [str(rule.reason) for rule, _ in judged],
        "statuses": [str(rule.status) for rule, _ in judged],
    }
    _require_complete_lists(connection, str(query), query.params, [outcome for _, outcome in judged])
    counts = execute(
        connection,
        "validate/record_held_back",
        parameters,
        failing=_raw(str(query)),
        held_back=_held_back(run_key),
        staging=_staging(run_key),
    )
    return {Status(status): rows for status, rows in counts}


def _require_complete_lists(connection: Connection, query: str, parameters: Any, outcomes: Sequence[Outcome]) -> None:
    """Raise where a list was cut off: the rows found must be as many as GX counted, rule by rule."""
    counted = execute(connection, "validate/count_failing", parameters, failing=_raw(query)).fetchall()
    expected = {position: outcome.failed for position, outcome in enumerate(outcomes) if outcome.failed}
    if dict(counted) != expected:
        raise LawBrokenError(
            "The rows found for the failed expectations are not as many as Great Expectations counted."
        )


def _record_quality(
    connection: Connection,
    run_key: str,
    lines: Sequence[QualityLine],
    result: ExpectationSuiteValidationResult,
) -> None:
    scope = {"run_key": run_key}
    execute(connection, "validate/forget_quality", scope)
    execute(connection, "validate/forget_result", scope)
    for position, line in enumerate(lines):
        execute(connection, "validate/record_quality", {**scope, "position": position, **asdict(line)})
    execute(connection, "validate/record_quality_verdict", scope)
    document = result.to_json_dict()
    execute(connection, "validate/record_result", {**scope, "result": json.dumps(document)})


def _staging(run_key: str) -> sql.Identifier:
    return table(staging_table_of(run_key))


def _held_back(run_key: str) -> sql.Identifier:
    return table(held_back_table_of(run_key))


def _raw(query: LiteralString) -> sql.SQL:
    """Return a query that SQLAlchemy compiled, placeholders included, to be part of one of our own statements."""
    return sql.SQL(query)
