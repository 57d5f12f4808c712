"""The source of a pipeline: its columns as the catalogue has them, and its expressions for statements.

A name is quoted by psycopg, a value is bound; so a pipeline file can name any table and column.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from crm_to_meta.errors import SourceError
from crm_to_meta.pipeline.settings import PERSONAL_FIELDS, REQUIRED_FIELDS, SOURCE_FIELDS
from crm_to_meta.warehouse import execute, one_row, table

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from crm_to_meta.pipeline.settings import Pipeline
    from crm_to_meta.warehouse import Connection

_TIME_EXPRESSIONS: Final = {
    "timestamptz": "capi.finite_time({column})",
    "timestamp": "capi.time_from_local({column}, {zone})",
    "text": "capi.time_from_text({column}::text, {zone})",
    "epoch_seconds": "capi.time_from_epoch({column}::text)",
}
_COLUMN_TYPES: Final = {
    "timestamptz": {"timestamp with time zone"},
    "timestamp": {"timestamp without time zone"},
    "text": {"text", "character varying", "character"},
    "epoch_seconds": {"bigint", "integer", "numeric", "double precision", "text", "character varying"},
}


def read_source_columns(connection: Connection, pipeline: Pipeline) -> dict[str, str]:
    """Return the source's column for each field of the contract that it has.

    A field's column is the one named in the pipeline file, else the one of the field's own name.

    Raises:
        SourceError: no such table, no such column, a time of another type than declared, or no right to read them.
    """
    schema, name = pipeline.source.schema_and_name
    types: dict[str, str] = dict(
        execute(connection, "extract/describe_source", {"schema": schema, "table": name}).fetchall()
    )
    where = f"include/pipelines/{pipeline.name}.yaml"
    if not types:
        raise SourceError(
            f"{where}: source.table {pipeline.source.table} is not in the warehouse; correct the name, or the database "
            "of the connection."
        )
    columns = _named_columns(pipeline, types, where)
    declared = pipeline.source.event_time_type
    for column in (columns[field] for field in ("event_time", "lead_created_at") if field in columns):
        if types[column] not in _COLUMN_TYPES[declared]:
            raise SourceError(
                f"{where}: source.event_time_type is {declared}, but the column {column} is {types[column]}; "
                "declare what it is, or give both times one type in a view."
            )
    _require_rights(connection, pipeline, columns.values())
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


def _require_rights(connection: Connection, pipeline: Pipeline, columns: Collection[str]) -> None:
    """Make sure that this role may read these columns of the source table, which is there.

    Raises:
        SourceError: it may not; the message says what to grant.
    """
    schema, name = pipeline.source.schema_and_name
    wanted = {"schema": schema, "table": name, "columns": list(columns)}
    role, may_use_schema, may_read_table = one_row(execute(connection, "extract/source_rights", wanted))
    lacking, grants = [], []
    if not may_use_schema:
        lacking.append(f"USAGE on the schema {schema}")
        grants.append(sql.SQL("GRANT USAGE ON SCHEMA {} TO {};").format(sql.Identifier(schema), sql.Identifier(role)))
    if not may_read_table:
        lacking.append(f"SELECT on {pipeline.source.table}")
        grants.append(sql.SQL("GRANT SELECT ON {} TO {};").format(table(name, schema), sql.Identifier(role)))
    if grants:
        raise SourceError(
            f"include/pipelines/{pipeline.name}.yaml: the role {role} may not read source.table: it lacks "
            f"{' and '.join(lacking)}. Let the owner run: {sql.SQL(' ').join(grants).as_string()}"
        )


def source_identifiers(pipeline: Pipeline, columns: Mapping[str, str]) -> dict[str, sql.Composable]:
    """Return what replaces the names in braces of stage_rows.sql."""
    fields: dict[str, sql.Composable] = {
        field: quoted(columns[field]) if field in columns else sql.SQL("NULL") for field in SOURCE_FIELDS
    }
    event_moment = moment_of(pipeline, fields["event_time"])
    has_lead_created_at = "lead_created_at" in columns
    personal = [sql.SQL("{}::text AS {}").format(fields[field], sql.Identifier(field)) for field in PERSONAL_FIELDS]
    return {
        **fields,
        "personal_columns": sql.SQL(", ").join(personal),
        "personal_fields": sql.SQL(", ").join(map(sql.Identifier, PERSONAL_FIELDS)),
        "source": quoted(*pipeline.source.schema_and_name),
        "all_columns": sql.SQL(", ").join(quoted(column) for column in columns.values()),
        "event_moment": event_moment,
        "lead_created_moment": (
            moment_of(pipeline, fields["lead_created_at"]) if has_lead_created_at else sql.SQL("NULL::timestamptz")
        ),
        "in_window": in_window_condition(pipeline, fields["event_time"], event_moment),
        "has_no_window": no_window_condition(pipeline, fields["event_time"], event_moment),
    }


def quoted(*names: str) -> sql.Identifier:
    """Return a name for a statement with parameters: psycopg quotes it, but reads a percent sign as a placeholder."""
    return sql.Identifier(*(name.replace("%", "%%") for name in names))


def moment_of(pipeline: Pipeline, column: sql.Composable) -> sql.Composed:
    """Return the expression for a column's time as timestamptz; NULL where it cannot be read as one."""
    expression: Any = _TIME_EXPRESSIONS[pipeline.source.event_time_type]
    return sql.SQL(expression).format(column=column, zone=sql.Literal(pipeline.time_zone))


def in_window_condition(pipeline: Pipeline, column: sql.Composable, moment: sql.Composable) -> sql.Composed:
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


def no_window_condition(pipeline: Pipeline, column: sql.Composable, moment: sql.Composable) -> sql.Composed:
    """Return the condition for times that no window will ever hold: absent, unreadable, infinite or in the future.

    The first day of year 1 is what programs write that have no time.
    """
    match pipeline.source.event_time_type:
        case "timestamptz":
            odd = "({column} IS NULL OR {column} > %(latest_event_time)s OR {column} < '0001-01-02 00:00+00')"
        case _:
            odd = "({moment} IS NULL OR {moment} > %(latest_event_time)s)"
    return sql.SQL(odd).format(column=column, moment=moment)
