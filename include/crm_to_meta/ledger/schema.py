"""The schema `capi`: its migrations, applied in order, each once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import sql

from crm_to_meta.errors import ConfigurationError, WarehouseError
from crm_to_meta.warehouse import SCHEMA, execute, run_query

if TYPE_CHECKING:
    from typing import LiteralString

    from crm_to_meta.warehouse import Connection

MIGRATIONS_FOLDER: Final = Path(__file__).resolve().parent / "migrations"


def migrate(connection: Connection) -> list[str]:
    """Bring the schema `capi` up to date and return the names of the migrations that were missing.

    Several tasks may call this at once: they take turns. Each migration is one transaction.

    Raises:
        ConfigurationError: the role may not create what is missing, or the schema is newer than this code.
    """
    try:
        return _apply_missing_migrations(connection)
    except WarehouseError as error:
        if error.sqlstate == psycopg.errors.InsufficientPrivilege.sqlstate:
            raise ConfigurationError(
                f"The warehouse's role may not create or read the schema {SCHEMA}; grant it CREATE on the database, "
                f"and where {SCHEMA} is another role's, membership in that role."
            ) from None
        raise


def is_installed(connection: Connection) -> bool:
    """Say whether the schema `capi` is there; an older version counts."""
    return bool(_applied_migrations(connection))


def missing_migrations(connection: Connection) -> list[str]:
    """Return the names of the migrations that this database lacks.

    Raises:
        ConfigurationError: the schema is newer than this code.
    """
    known = sorted(path.stem for path in MIGRATIONS_FOLDER.glob("*.sql"))
    applied = _applied_migrations(connection)
    if ahead := sorted(set(applied) - set(known)):
        raise ConfigurationError(
            f"The schema {SCHEMA} of the warehouse has migration {ahead[-1]}, which this version does not know; "
            "deploy the newer version of crm-to-meta again."
        )
    return [name for name in known if name not in applied]


def _apply_missing_migrations(connection: Connection) -> list[str]:
    if not missing_migrations(connection):
        return []
    with connection.transaction():
        execute(connection, "ledger/migrate_lock")
        missing = missing_migrations(connection)
        for name in missing:
            run_query(connection, sql.SQL(_read_migration(name)), name=name)
            execute(connection, "ledger/migrate_record", {"name": name})
    return missing


def _applied_migrations(connection: Connection) -> list[str]:
    exists = execute(connection, "ledger/migrate_exists").fetchone()
    if not exists or not exists[0]:
        return []
    return [name for (name,) in execute(connection, "ledger/migrate_list")]


def _read_migration(name: str) -> LiteralString:
    return (MIGRATIONS_FOLDER / f"{name}.sql").read_text(encoding="utf-8")
