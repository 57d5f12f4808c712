"""The schema `capi`: its migrations, applied in order, each once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import psycopg
from psycopg import sql

from crm_to_meta.errors import ConfigurationError, WarehouseError, WarehouseRefusedError
from crm_to_meta.warehouse import SCHEMA, execute, one_row, run_query

if TYPE_CHECKING:
    from typing import LiteralString

    from crm_to_meta.warehouse import Connection

MIGRATIONS_FOLDER: Final = Path(__file__).resolve().parent / "migrations"


class _SchemaRights(NamedTuple):
    """What a role may do about the schema `capi`, as ledger/sql/schema_rights.sql finds it."""

    role: str
    database: str
    is_standby: bool
    is_read_only: bool
    owner: str | None
    may_create: bool
    may_work: bool

    @property
    def error(self) -> ConfigurationError:
        """Return which right is lacking, and what to grant."""
        role = sql.Identifier(self.role)
        if self.owner is None or not self.may_create:
            grant = sql.SQL("GRANT CREATE ON DATABASE {} TO {};").format(sql.Identifier(self.database), role)
            return ConfigurationError(
                f"The role {self.role} may not create the schema {SCHEMA}: it lacks CREATE on the database "
                f"{self.database}. Let the database's owner run: {grant.as_string()}"
            )
        grant = sql.SQL("GRANT {} TO {};").format(sql.Identifier(self.owner), role)
        return ConfigurationError(
            f"The role {self.role} lacks rights on the schema {SCHEMA} or its tables: they belong to the role "
            f"{self.owner}. Let a superuser run: {grant.as_string()} or make {self.role} the owner of the schema "
            "and its tables."
        )


def require_schema_rights(connection: Connection) -> bool:
    """Make sure that this role may work in the schema `capi`, or else create it; return whether the schema is there.

    Raises:
        ConfigurationError: it may not; the message says what to grant.
        WarehouseError: the server is a standby, which after a failover may pass.
    """
    rights = _read_schema_rights(connection)
    if rights.is_standby:
        raise WarehouseError(
            "The server is a standby and takes no writes; point the connection to the primary. After a failover this "
            "passes by itself.",
            sqlstate=psycopg.errors.ReadOnlySqlTransaction.sqlstate,
        )
    if rights.is_read_only:
        raise ConfigurationError(
            f"Sessions of the role {rights.role} are read-only (default_transaction_read_only is on); turn that off "
            "for the role, the database or the server."
        )
    if not (rights.may_create and rights.may_work):
        raise rights.error
    return rights.owner is not None


def migrate(connection: Connection) -> list[str]:
    """Bring the schema `capi` up to date and return the names of the migrations that were missing.

    Several tasks may call this at once: they take turns. Each migration is one transaction.

    Raises:
        ConfigurationError: the role lacks a right, or the schema is newer than this code.
        WarehouseError: the server takes no writes for now, or a statement failed for another reason that passes.
    """
    require_schema_rights(connection)
    try:
        return _apply_missing_migrations(connection)
    except WarehouseRefusedError as error:
        if error.sqlstate == psycopg.errors.InsufficientPrivilege.sqlstate:  # an upgrade of another role's tables
            raise _read_schema_rights(connection).error from None
        raise


def is_installed(connection: Connection) -> bool:
    """Say whether a run has made the schema `capi` here."""
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


def _read_schema_rights(connection: Connection) -> _SchemaRights:
    return _SchemaRights(*one_row(execute(connection, "ledger/schema_rights")))


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
