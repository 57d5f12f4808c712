"""The warehouse: named SQL files with bound parameters in, cursors out; and the migrations of the schema `capi`.

A connection is a plain psycopg 3 connection that the caller opens and closes; transactions are the caller's too.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, LiteralString, TypeAlias

import psycopg
from psycopg import sql
from sqlalchemy import URL

from crm_to_meta.errors import WarehouseError

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGE_FOLDER: Final = Path(__file__).resolve().parent
SCHEMA: Final = "capi"

Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"
Cursor: TypeAlias = "psycopg.Cursor[tuple[Any, ...]]"


def execute(
    connection: Connection,
    statement: str,
    parameters: Mapping[str, Any] | None = None,
    **identifiers: sql.Composable,
) -> Cursor:
    """Run the statement of a file and return its cursor.

    Args:
        connection: an open connection; its transaction goes on.
        statement: folder and name: "load/begin_request" is `load/sql/begin_request.sql`.
        parameters: values for `%(name)s`, bound by the driver.
        **identifiers: what replaces `{name}`: identifiers and expressions, quoted by `psycopg.sql`.

    Raises:
        WarehouseError: the statement failed; the message names it and the SQLSTATE, never a value.
    """
    return run_query(connection, compose(statement, **identifiers), parameters, name=statement)


def compose(statement: str, **identifiers: sql.Composable) -> sql.Composed:
    """Return the statement of a file with its identifiers filled in."""
    return sql.SQL(_read_statement(statement)).format(**identifiers)


def run_query(
    connection: Connection, query: sql.SQL | sql.Composed, parameters: Mapping[str, Any] | None = None, *, name: str
) -> Cursor:
    """Run a composed query; a failure is told by `name` and SQLSTATE alone.

    Raises:
        WarehouseError: the query failed.
    """
    try:
        return connection.execute(query, parameters)
    except psycopg.Error as error:
        raise translated(error, name) from None


def translated(error: psycopg.Error, name: str) -> WarehouseError:
    """Return the error without the driver's message, which may quote values of a row."""
    place = " ".join(part for part in (error.diag.schema_name, error.diag.table_name, error.diag.column_name) if part)
    where = f" at {place}" if place else ""
    return WarehouseError(
        f"{name}: the warehouse answered {type(error).__name__} (SQLSTATE {error.sqlstate or 'none'}){where}; "
        "its server log has the full message.",
        sqlstate=error.sqlstate,
    )


def table(name: str, schema: str = SCHEMA) -> sql.Identifier:
    """Return the quoted name of a table, by default one of this project's own."""
    return sql.Identifier(schema, name)


def sqlalchemy_url(connection: Connection) -> str:
    """Return the URL of the database that a connection is open to, with all its settings; it holds the password."""
    settings = {**connection.info.get_parameters(), "password": connection.info.password}
    return URL.create("postgresql+psycopg", query=settings).render_as_string(hide_password=False)


def one_row(cursor: Cursor) -> tuple[Any, ...]:
    """Return the only row of a statement that always has one.

    Raises:
        WarehouseError: it has none; somebody deleted from the schema `capi` meanwhile.
    """
    row = cursor.fetchone()
    if row is None:
        raise WarehouseError("A row of the schema capi that this run needs is gone; clear the run from `extract`.")
    return row


@cache
def _read_statement(name: str) -> LiteralString:
    folder, statement = name.split("/")
    return (PACKAGE_FOLDER / folder / "sql" / f"{statement}.sql").read_text(encoding="utf-8")
