"""Opens the warehouse of an Airflow connection, and reads Meta's settings from one."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, cast

import psycopg
from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.sdk import Connection as AirflowConnection
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from crm_to_meta.errors import ConfigurationError, ConnectionMissingError
from crm_to_meta.meta.client import MetaSettings, read_settings
from crm_to_meta.warehouse_errors import translated, unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crm_to_meta.warehouse import Connection

_KEYS: Final = ("conn_type", "description", "host", "schema", "login", "password", "port", "extra")  # of Airflow's JSON


@contextmanager
def open_warehouse(connection_id: str, *, connect_timeout_s: int | None = None) -> Iterator[Connection]:
    """Open the warehouse in autocommit mode and close it afterwards.

    Args:
        connection_id: of the Airflow connection.
        connect_timeout_s: how long to wait for the server, unless the connection's extra has a `connect_timeout`.

    Raises:
        ConnectionMissingError: there is no such connection in Airflow.
        ConfigurationError: the connection cannot be read, or the warehouse refuses it.
        WarehouseError: the warehouse cannot be reached for now, or a transaction could not begin or end.
    """
    settings = _connection(connection_id)
    if connect_timeout_s is not None:
        settings.extra = json.dumps({"connect_timeout": connect_timeout_s, **settings.extra_dejson})
    try:
        # psycopg 3 is installed, so the hook uses it
        connection = cast("Connection", PostgresHook(connection_id, connection=settings).get_conn())
    except psycopg.Error as error:
        raise unreachable(error, f"the warehouse of Airflow connection `{connection_id}`") from None
    try:
        connection.autocommit = True
        yield connection
    except psycopg.Error as error:  # statements have names of their own; BEGIN and COMMIT are psycopg's
        raise translated(error, "transaction") from None
    finally:
        connection.close()


def meta_settings(connection_id: str, *, needs_token: bool) -> MetaSettings:
    """Return the checked settings of the Meta connection.

    Raises:
        ConnectionMissingError: there is no such connection in Airflow.
        ConfigurationError: the connection cannot be read, or is incomplete.
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
    variable = f"AIRFLOW_CONN_{connection_id.upper()}"
    try:
        connection = cast("AirflowConnection", AirflowConnection.get(connection_id))
    except AirflowNotFoundException:  # Airflow passes over what it cannot read
        if value := os.environ.get(variable, "").strip():
            raise ConfigurationError(
                f"{variable} is set, but it is no connection that Airflow can read: {_explain_unreadable(value)}."
            ) from None
        raise ConnectionMissingError(
            f"There is no Airflow connection `{connection_id}`; add it under Admin > Connections, or set "
            f"{variable} (docs/settings.md, Connections)."
        ) from None
    where = f"Airflow connection `{connection_id}`"
    if not connection.conn_type:
        raise ConfigurationError(
            f"{where} has no type, or its text ({variable}, or that of a secrets backend) is neither JSON nor a URL; "
            "give it a `conn_type`: postgres for a warehouse, meta_capi or generic for Meta."
        )
    if connection.extra and (problem := _explain_json(connection.extra)):
        raise ConfigurationError(f"{where}: its extra cannot be read: {problem}.")
    return connection


def _explain_unreadable(value: str) -> str:
    """Return why Airflow cannot read a connection's text; nothing of it is quoted, since it holds a password."""
    if not value.startswith("{"):
        return (
            "as a URL it has to be like postgres://login:password@host:5432/database, with the port a number and "
            "special characters of login and password percent-encoded"
        )
    if problem := _explain_json(value):
        return problem
    settings = json.loads(value)
    if not settings.keys() <= set(_KEYS):
        return f"it has a key that is none of {', '.join(_KEYS)}"
    return "`port` has to be a number, and `conn_type` a text"


def _explain_json(value: str) -> str | None:
    """Return why a text is no JSON object, with the place; None where it is one."""
    try:
        is_object = isinstance(json.loads(value), dict)
    except json.JSONDecodeError as error:
        return f"it is no valid JSON from line {error.lineno}, column {error.colno} on"
    return None if is_object else "it is no JSON object, which is written in braces"
