"""Airflow connections in, open warehouse connections and Meta's settings out."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import psycopg
from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.sdk import Connection as AirflowConnection
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from crm_to_meta.errors import ConfigurationError, WarehouseError
from crm_to_meta.meta.client import MetaSettings, read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crm_to_meta.warehouse import Connection


@contextmanager
def open_warehouse(connection_id: str) -> Iterator[Connection]:
    """Open the warehouse in autocommit mode and close it afterwards.

    Raises:
        ConfigurationError: there is no such connection in Airflow, or it is refused.
        WarehouseError: the warehouse cannot be reached.
    """
    _connection(connection_id)
    try:
        # psycopg 3 is installed, so the hook uses it
        connection = cast("Connection", PostgresHook(connection_id).get_conn())
    except psycopg.OperationalError as error:
        raise WarehouseError(
            f"The warehouse of Airflow connection `{connection_id}` cannot be reached "
            f"({type(error).__name__}); check host, port, database, login and that it is up.",
            sqlstate=error.sqlstate,
        ) from None
    try:
        connection.autocommit = True
        yield connection
    finally:
        connection.close()


def meta_settings(connection_id: str, *, needs_token: bool) -> MetaSettings:
    """Return the checked settings of the Meta connection.

    Raises:
        ConfigurationError: the connection is absent or incomplete.
    """
    connection = _connection(connection_id)
    settings = read_settings(
        connection_id=connection_id,
        password=connection.password,
        extra=connection.extra_dejson,
        needs_token=needs_token,
    )
    for secret in (settings.app_secret, *settings.proof.values()):
        if secret:
            mask_secret(secret)  # Airflow knows the password; these two it would have to guess
    return settings


def _connection(connection_id: str) -> AirflowConnection:
    try:
        return cast("AirflowConnection", AirflowConnection.get(connection_id))
    except AirflowNotFoundException:
        raise ConfigurationError(
            f"There is no Airflow connection `{connection_id}`; add it under Admin > Connections, or set "
            f"AIRFLOW_CONN_{connection_id.upper()} (docs/settings.md, Connections)."
        ) from None
