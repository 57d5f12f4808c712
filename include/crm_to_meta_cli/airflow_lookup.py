"""Airflow's connections in a plain process: found where the DAG finds them, and explained where they are not.

A task asks Airflow's API server for what is in the metadata database. A plain process has no such server to ask, and
reads the database itself, as Airflow's own command line does.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from crm_to_meta.errors import ConfigurationError, ConnectionMissingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from crm_to_meta.meta.client import MetaSettings
    from crm_to_meta.warehouse import Connection

# `airflow connections get` sets the same (airflow/cli/commands/connection_command.py in 3.3.2): the environment, the
# secrets backend and the metadata database are asked. Without it the database is left out.
_READS_DATABASE: Final = {"_AIRFLOW_PROCESS_CONTEXT": "server"}
_TEMPORARY_HOME: Final = "crm-to-meta-airflow-home-"
_QUIET: Final = {"AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}  # Airflow logs to standard output


@contextmanager
def airflow_lookup() -> Iterator[None]:
    """Let Airflow look for connections in the environment, its secrets backend and its metadata database.

    Where no AIRFLOW_HOME is set and there is no ~/airflow either, Airflow would make that folder. It gets a folder that
    is removed afterwards.
    """
    with ExitStack() as stack:
        settings = dict(_READS_DATABASE)
        settings.update({name: value for name, value in _QUIET.items() if name not in os.environ})
        if "AIRFLOW_HOME" not in os.environ and not Path("~/airflow").expanduser().exists():
            settings["AIRFLOW_HOME"] = stack.enter_context(TemporaryDirectory(prefix=_TEMPORARY_HOME))
        stack.enter_context(_environment(settings))
        yield


@contextmanager
def open_warehouse(connection_id: str) -> Iterator[Connection]:
    """Open the warehouse in autocommit mode and close it afterwards.

    Raises:
        ConfigurationError: Airflow does not find the connection, or the warehouse refuses it.
        WarehouseError: the warehouse cannot be reached.
    """
    from crm_to_meta_airflow import connections

    with _explained(connection_id), connections.open_warehouse(connection_id) as connection:
        yield connection


def read_meta_settings(connection_id: str, *, needs_token: bool) -> MetaSettings:
    """Return the checked settings of the Meta connection.

    Raises:
        ConfigurationError: Airflow does not find the connection, or it is incomplete.
    """
    from crm_to_meta_airflow import connections

    with _explained(connection_id):
        return connections.meta_settings(connection_id, needs_token=needs_token)


@contextmanager
def _explained(connection_id: str) -> Iterator[None]:
    """Say why Airflow finds no connection, where it is the metadata database that cannot be read.

    Airflow itself tells all reasons as "not defined".

    Raises:
        ConfigurationError: the metadata database cannot be read, or has the connection and cannot decrypt it.
    """
    try:
        yield
    except ConnectionMissingError:
        if why := _explain_database(connection_id):
            raise ConfigurationError(
                f"Airflow does not find the connection `{connection_id}`: {why} "
                f"Or set AIRFLOW_CONN_{connection_id.upper()}."
            ) from None
        raise


def _explain_database(connection_id: str) -> str | None:
    """Return what is wrong with the metadata database, and what to do; None where it just lacks the connection."""
    from airflow.utils.session import create_session
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError

    query = text("SELECT count(*) FROM connection WHERE conn_id = :connection_id")
    with create_session() as session:
        database = session.get_bind().engine.url.set(query={}).render_as_string()  # without the password
        try:
            count = session.scalar(query, {"connection_id": connection_id})
        except SQLAlchemyError as error:
            if _TEMPORARY_HOME in database:
                return "AIRFLOW_HOME is not set, and there is no ~/airflow; set it as the scheduler has it."
            return (
                f"its metadata database {database} cannot be read ({type(error).__name__}); set AIRFLOW_HOME or "
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN as the scheduler has them."
            )
    if not count:
        return None
    return "its metadata database has it, but cannot decrypt it; set AIRFLOW__CORE__FERNET_KEY as the scheduler has it."


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Set variables for as long as the block lasts."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
