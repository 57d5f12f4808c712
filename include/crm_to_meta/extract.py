"""Extract: a window of the source table in, this run's staged work set out. Rows never leave the warehouse.

In one transaction, and one pipeline at a time: runs that died are given up, the candidates are staged, and the ledger
says that this run holds them. Test and preview runs stage the same rows and leave the ledger alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from crm_to_meta.abandonment import abandon_dead_runs
from crm_to_meta.errors import SourceError
from crm_to_meta.models import DagRunFacts, Mode, run_key_of, staging_table_of, verdict_table_of
from crm_to_meta.pipeline import META_DEDUPLICATION_WINDOW, REQUIRED_FIELDS, SOURCE_FIELDS, Pipeline
from crm_to_meta.warehouse import Connection, execute, migrate, one_row, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crm_to_meta.models import Window

_TIME_EXPRESSIONS: Final = {
    "timestamptz": "capi.finite_time({column})",
    "timestamp": "capi.time_from_local({column}, {zone})",
    "text": "capi.time_from_text({column}::text, {zone})",
    "epoch_seconds": "capi.time_from_epoch({column}::text)",
}
_NEWEST_ROWS: Final = (  # for test runs: the newest rows that are not in the future
    "ORDER BY CASE WHEN event_time <= %(now)s THEN event_time END DESC NULLS LAST, event_id LIMIT %(test_events)s"
)
_COLUMN_TYPES: Final = {
    "timestamptz": {"timestamp with time zone"},
    "timestamp": {"timestamp without time zone"},
    "text": {"text", "character varying", "character"},
    "epoch_seconds": {"bigint", "integer", "numeric", "double precision", "text", "character varying"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """What extract hands on: the run's key and counts."""

    run_key: str
    staged: int
    expired: int
    held: int


def extract(
    connection: Connection, pipeline: Pipeline, facts: DagRunFacts, *, now: datetime | None = None
) -> Extraction:
    """Stage the run's work set and claim it in the ledger.

    Args:
        connection: to the warehouse; committed on success.
        pipeline: says where the rows are and how to read them.
        facts: the DAG run's id, mode and window.
        now: the moment that ages are measured against.

    Raises:
        SourceError: the source table or a column is not there, or has another type than declared.
        ConfigurationError: the schema `capi` cannot be created.
        WarehouseError: a statement failed.
    """
    now = now or datetime.now(UTC)
    migrate(connection)
    columns = read_source_columns(connection, pipeline)
    with connection.transaction():
        execute(connection, "extract_set_session")
        execute(connection, "lock_pipeline", {"pipeline": pipeline.name})
        run_key = _open_pass(connection, pipeline, facts)
        staged = _stage_rows(connection, pipeline, facts, columns, run_key=run_key, now=now)
        expired = held = 0
        if facts.mode is Mode.LIVE:
            staging = table(staging_table_of(run_key))
            execute(connection, "extract_count_taken_over", staging=staging)
            execute(connection, "extract_claim_rows", {"pipeline": pipeline.name, "run_key": run_key}, staging=staging)
            scope = {"pipeline": pipeline.name, "run_key": run_key, **_window_parameters(facts)}
            oldest = {"oldest_event_time": now - pipeline.delivery.max_event_age}
            execute(connection, "extract_settle_unreachable", scope)
            expired = execute(connection, "extract_expire_pending", {**scope, **oldest}).rowcount
            held = one_row(execute(connection, "extract_count_held", scope))[0]
        counts = {"run_key": run_key, "staged": staged, "extracted": staged + expired, "held": held}
        execute(connection, "extract_record_count", {**counts, "lease": timedelta(minutes=pipeline.lease_minutes)})
        execute(connection, "extract_analyze_staging", staging=table(staging_table_of(run_key)))
        execute(connection, "extract_analyze_ledger")
    return Extraction(run_key=run_key, staged=staged, expired=expired, held=held)


def count_window(connection: Connection, pipeline: Pipeline, window: Window) -> int:
    """Return how many rows of the source lie in a window, finished ones included.

    Raises:
        SourceError: the source table or a column is not there, or has another type than declared.
        WarehouseError: the statement failed.
    """
    columns = read_source_columns(connection, pipeline)
    event_time = _quoted(columns["event_time"])
    in_window = _in_window(pipeline, event_time, _moment(pipeline, event_time))
    source = _quoted(*pipeline.source.schema_and_name)
    parameters = {"window_start": window.start, "window_end": window.end}
    return int(one_row(execute(connection, "extract_count_window", parameters, source=source, in_window=in_window))[0])


def read_source_columns(connection: Connection, pipeline: Pipeline) -> dict[str, str]:
    """Return the source's column for each field of the contract that it has.

    A field's column is the one named in the pipeline file, else the one of the field's own name.

    Raises:
        SourceError: no such table, no such column, or a time of another type than declared.
    """
    schema, name = pipeline.source.schema_and_name
    types: dict[str, str] = dict(
        execute(connection, "extract_describe_source", {"schema": schema, "table": name}).fetchall()
    )
    where = f"include/pipelines/{pipeline.name}.yaml"
    if not types:
        raise SourceError(
            f"{where}: source.table {pipeline.source.table} is not in the warehouse, or this role may not see it; "
            "mend the name or grant SELECT on it."
        )
    columns = _named_columns(pipeline, types, where)
    declared = pipeline.source.event_time_type
    for column in (columns[field] for field in ("event_time", "lead_created_at") if field in columns):
        if types[column] not in _COLUMN_TYPES[declared]:
            raise SourceError(
                f"{where}: source.event_time_type is {declared}, but the column {column} is {types[column]}; "
                "declare what it is, or give both times one type in a view."
            )
    return columns


def _named_columns(pipeline: Pipeline, types: Mapping[str, str], where: str) -> dict[str, str]:
    named = pipeline.source.columns
    columns = {field: column for field in SOURCE_FIELDS if (column := named.get(field, field)) is not None}
    expected = {field: column for field, column in columns.items() if field in named or field in REQUIRED_FIELDS}
    if missing := [(field, column) for field, column in expected.items() if column not in types]:
        field, column = missing[0]
        raise SourceError(
            f"{where}: {pipeline.source.table} has no column {column} for the field {field}; "
            f"name it under source.columns.{field}. Columns are: {', '.join(types)}."
        )
    return {field: column for field, column in columns.items() if column in types}


def _open_pass(connection: Connection, pipeline: Pipeline, facts: DagRunFacts) -> str:
    identity = {"pipeline": pipeline.name, "dag_run_id": facts.dag_run_id}
    abandon_dead_runs(connection, **identity)
    pass_no = one_row(execute(connection, "extract_next_pass", identity))[0]
    run_key = run_key_of(pipeline=pipeline.name, zone=pipeline.zone, facts=facts, pass_no=pass_no)
    settings = {
        "run_key": run_key,
        "mode": facts.mode,
        "run_type": facts.run_type,
        "pass_no": pass_no,
        "configuration_digest": pipeline.digest,
        "lease": timedelta(minutes=pipeline.lease_minutes),
    }
    execute(connection, "extract_insert_run", {**identity, **settings, **_window_parameters(facts)})
    return run_key


def _stage_rows(
    connection: Connection,
    pipeline: Pipeline,
    facts: DagRunFacts,
    columns: Mapping[str, str],
    *,
    run_key: str,
    now: datetime,
) -> int:
    staging = table(staging_table_of(run_key))
    execute(connection, "extract_create_staging", staging=staging)
    execute(connection, "extract_create_verdict", verdict=table(verdict_table_of(run_key)))
    parameters = {
        **_window_parameters(facts),
        "pipeline": pipeline.name,
        "configuration_digest": pipeline.digest,
        "now": now,
        "latest_event_time": now + timedelta(seconds=pipeline.quality.future_tolerance_seconds),
        "resend_in_doubt": pipeline.delivery.on_in_doubt == "resend",
        "deduplication_window": META_DEDUPLICATION_WINDOW,
        "crm_stages": list(pipeline.stages),
        "event_names": list(pipeline.stages.values()),
        "test_events": pipeline.delivery.test_events,
    }
    choice = sql.SQL(_NEWEST_ROWS if facts.mode is Mode.TEST else "")
    identifiers = {"staging": staging, "choice": choice, **_source_identifiers(pipeline, columns)}
    return execute(connection, "extract_stage_rows", parameters, **identifiers).rowcount


def _source_identifiers(pipeline: Pipeline, columns: Mapping[str, str]) -> dict[str, sql.Composable]:
    """Return what replaces the names in braces of extract_stage_rows.sql."""
    fields: dict[str, sql.Composable] = {
        field: _quoted(columns[field]) if field in columns else sql.SQL("NULL") for field in SOURCE_FIELDS
    }
    event_moment = _moment(pipeline, fields["event_time"])
    has_lead_created_at = "lead_created_at" in columns
    return {
        **fields,
        "source": _quoted(*pipeline.source.schema_and_name),
        "all_columns": sql.SQL(", ").join(_quoted(column) for column in columns.values()),
        "event_moment": event_moment,
        "lead_created_moment": (
            _moment(pipeline, fields["lead_created_at"]) if has_lead_created_at else sql.SQL("NULL::timestamptz")
        ),
        "in_window": _in_window(pipeline, fields["event_time"], event_moment),
        "has_no_window": _has_no_window(pipeline, fields["event_time"], event_moment),
    }


def _quoted(*names: str) -> sql.Identifier:
    """Return a name for a statement with parameters: psycopg quotes it, but reads a percent sign as a placeholder."""
    return sql.Identifier(*(name.replace("%", "%%") for name in names))


def _moment(pipeline: Pipeline, column: sql.Composable) -> sql.Composed:
    expression: Any = _TIME_EXPRESSIONS[pipeline.source.event_time_type]
    return sql.SQL(expression).format(column=column, zone=sql.Literal(pipeline.time_zone))


def _in_window(pipeline: Pipeline, column: sql.Composable, moment: sql.Composable) -> sql.Composed:
    """Return the condition for "within the window", written so that an index on the column can serve it."""
    zone = sql.Literal(pipeline.time_zone)
    match pipeline.source.event_time_type:
        case "timestamptz":
            between = "({column} >= %(window_start)s AND {column} < %(window_end)s)"
        case "timestamp":
            between = (
                "({column} >= %(window_start)s::timestamptz AT TIME ZONE {zone} "
                "AND {column} < %(window_end)s::timestamptz AT TIME ZONE {zone})"
            )
        case _:
            between = "({moment} >= %(window_start)s AND {moment} < %(window_end)s)"
    return sql.SQL(between).format(column=column, zone=zone, moment=moment)


def _has_no_window(pipeline: Pipeline, column: sql.Composable, moment: sql.Composable) -> sql.Composed:
    """Return the condition for times that no window will ever hold: absent, unreadable, infinite or in the future.

    The first day of year 1 is what programs write that have no time.
    """
    match pipeline.source.event_time_type:
        case "timestamptz":
            odd = "({column} IS NULL OR {column} > %(latest_event_time)s OR {column} < '0001-01-02 00:00+00')"
        case _:
            odd = "({moment} IS NULL OR {moment} > %(latest_event_time)s)"
    return sql.SQL(odd).format(column=column, moment=moment)


def _window_parameters(facts: DagRunFacts) -> dict[str, Any]:
    window = facts.window
    return {"window_start": window.start, "window_end": window.end, "is_sweep": window.is_sweep}
