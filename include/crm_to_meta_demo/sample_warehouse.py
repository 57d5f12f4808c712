"""Write missing rows of the sample CRM into the table crm.lead_stage_transitions of a warehouse.

Existing rows are never changed. A table of that name without the sample's comment is not the sample's, and is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg.rows import tuple_row

from crm_to_meta_demo.sample_transition import COLUMNS, SampleTransition

if TYPE_CHECKING:
    from collections.abc import Iterable

    import psycopg

MARKER = "crm-to-meta sample data"  # how the table's comment starts (sql/comment_on_sample_table.sql)
_SQL_FOLDER = Path(__file__).with_name("sql")
_TABLE_STATEMENTS = (
    "create_sample_schema.sql",
    "create_sample_table.sql",
    "comment_on_sample_table.sql",
    "create_sample_index.sql",
)


class SampleTableRefusedError(Exception):
    """The table for the sample CRM exists but is not the sample's."""


def write_missing_rows(connection: psycopg.Connection[Any], rows: Iterable[SampleTransition]) -> int:
    """Add missing rows in one transaction, creating the table if needed; return the number of rows added.

    Raises:
        SampleTableRefusedError: the table is not the sample's. Nothing was written.
    """
    with connection.transaction():
        _make_table_ready(connection)
        known_keys = _read_known_keys(connection)
        missing = [row for row in rows if (row.transition_id or (row.lead_id, row.stage)) not in known_keys]
        _copy_rows(connection, missing)
    return len(missing)


def _make_table_ready(connection: psycopg.Connection[Any]) -> None:
    """Create the table, or check that the existing one is the sample's. Lock it against a second writer."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        table, comment = cursor.execute(_read_sql("find_sample_table.sql")).fetchone() or (None, None)
    if table is None:
        for name in _TABLE_STATEMENTS:
            connection.execute(_read_sql(name))
    elif not (comment or "").startswith(MARKER):
        raise SampleTableRefusedError(
            "crm.lead_stage_transitions exists already and is not the sample table: its comment does not start with "
            f"{MARKER!r}. Sample rows are never mixed with others: use another database for the sample."
        )
    connection.execute(_read_sql("lock_sample_table.sql"))


def _read_known_keys(connection: psycopg.Connection[Any]) -> set[str | tuple[str | None, str | None]]:
    """Return the keys of the existing rows: their ids, and for rows without an id, lead and stage.

    Lead and stage are read from all rows, since somebody may have given an id to a row that had none.
    """
    with connection.cursor(row_factory=tuple_row) as cursor:
        keys = cursor.execute(_read_sql("select_sample_keys.sql")).fetchall()
    return {transition_id for transition_id, _, _ in keys} | {(lead_id, stage) for _, lead_id, stage in keys}


def _copy_rows(connection: psycopg.Connection[Any], rows: Iterable[SampleTransition]) -> None:
    with connection.cursor() as cursor, cursor.copy(_read_sql("copy_sample_rows.sql")) as copy:
        for row in rows:
            copy.write_row([getattr(row, column) for column in COLUMNS])


def _read_sql(name: str) -> bytes:
    return (_SQL_FOLDER / name).read_bytes()
