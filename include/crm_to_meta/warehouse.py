"""Running statements by their names, which are those of their files; no failure of one quotes a row.

A connection is a plain psycopg 3 connection that the caller opens and closes; transactions are the caller's too.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, LiteralString, TypeAlias

import psycopg
from psycopg import sql
from sqlalchemy import URL

from crm_to_meta.errors import StagingLostError, WarehouseRefusedError
from crm_to_meta.warehouse_errors import translated

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGE_FOLDER: Final = Path(__file__).resolve().parent
SCHEMA: Final = "capi"
_TABLES_OF_A_RUN: Final = {"staging", "held_back"}  # what statements call them in braces

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
        WarehouseError: the statement failed for a reason that passes.
        WarehouseRefusedError: it fails each time.
        StagingLostError: it is about a table of a run that is not there any more.
    """
    try:
        return run_query(connection, compose(statement, **identifiers), parameters, name=statement)
    except WarehouseRefusedError as error:
        if error.sqlstate == psycopg.errors.UndefinedTable.sqlstate and identifiers.keys() & _TABLES_OF_A_RUN:
            raise StagingLostError.about(f"{statement}: what was staged for this run is gone") from None
        raise


def compose(statement: str, **identifiers: sql.Composable) -> sql.Composed:
    """Return the statement of a file with its identifiers filled in."""
    return sql.SQL(_read_statement(statement)).format(**identifiers)


def run_query(
    connection: Connection, query: sql.SQL | sql.Composed, parameters: Mapping[str, Any] | None = None, *, name: str
) -> Cursor:
    """Run a composed query; `name` stands for it in messages.

    Raises:
        WarehouseError: the query failed for a reason that passes.
        WarehouseRefusedError: it fails each time.
    """
    try:
        return connection.execute(query, parameters)
    except psycopg.Error as error:
        raise translated(error, name) from None


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
        StagingLostError: it has none; somebody deleted from the schema `capi` meanwhile.
    """
    row = cursor.fetchone()
    if row is None:
        raise StagingLostError("A row of the schema capi that this run needs is gone; clear the run from `extract`.")
    return row


@cache
def _read_statement(name: str) -> LiteralString:
    folder, statement = name.split("/")
    return (PACKAGE_FOLDER / folder / "sql" / f"{statement}.sql").read_text(encoding="utf-8")
