"""What a failure of PostgreSQL means: whether trying again may help, and what a person can do about it.

PostgreSQL's own text may quote values of a row, so no message repeats it. A message names the statement, the SQLSTATE
and the schema, table, column or constraint that PostgreSQL names. Codes: PostgreSQL's documentation, appendix A,
"PostgreSQL Error Codes" (https://www.postgresql.org/docs/current/errcodes-appendix.html).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import psycopg

from crm_to_meta.errors import ConfigurationError, WarehouseError, WarehouseRefusedError

LOST: Final = "the connection to the warehouse was lost"
_OLDER: Final = "the schema capi is older than this version, and the next run upgrades it"

# By SQLSTATE or how it begins; the longest match counts. A retry may help, since it is no fault of the statement:
PASSING: Final = {
    "08": LOST,
    "23505": "another worker wrote the same row at the same time",  # only in capi: the next try finds it done
    # A run checks at its start that the warehouse takes writes; where it no longer does, the server has changed.
    "25006": "the warehouse takes no writes any more: after a failover this is a standby, or it was set to read-only "
    "(some providers do that when the disk is full)",
    "25P03": "the warehouse ended a transaction that was idle for too long (idle_in_transaction_session_timeout)",
    "25P04": "the warehouse ended a transaction that took too long (transaction_timeout)",
    "40": "the warehouse undid the transaction because of another one at the same time",
    "53": "the warehouse is short of memory, connections or another resource",
    "53100": "the disk of the warehouse is full; make room on it",
    "55P03": "another session holds a lock for too long (lock_timeout)",
    "57": "the warehouse was shut down, restarted, or somebody ended the session",
    "57014": "somebody cancelled the statement, or it took longer than statement_timeout allows",
    "58": "the operating system of the warehouse reports an error",
    "HV00N": "the foreign table's own server cannot be reached",
    "XX000": "PostgreSQL reports an internal error, for example because a table was changed at the same moment",
}
# Trying again changes nothing:
LASTING: Final = {
    "0A": "this server does not support the statement (docs/source-contract.md says which versions of PostgreSQL do)",
    "22": "a value does not fit its type or its computation; look at the views behind the source table and at own "
    "expressions",
    "23": "a row breaks a constraint: the schema capi was changed by hand",
    "3F": "a schema is missing: it was dropped or renamed",
    "42": "the statement does not fit the tables of the warehouse: the source's views or the schema capi were changed",
    "42501": "the role of this connection, or the owner of a view, lacks a right on an object that the log names",
    "42703": f"a column is missing: it was dropped or renamed, or {_OLDER}",
    "42883": f"a function is missing: it was dropped, or {_OLDER}",
    "42P01": f"a table is missing: it was dropped or renamed, or {_OLDER}",
    "42P07": "a table of this name is there already, and it is none of this project's",
    "54": "the statement is too large or too complex for this server",
    "XX": "data of the warehouse is damaged",
}


class Unreachable(NamedTuple):
    """Why a connection cannot be opened: how it is recognised, and what to say."""

    pattern: str
    sqlstate: str | None
    cause: str


# Where a connection fails neither libpq nor psycopg passes on the SQLSTATE, only a text. Names in quotes are taken out
# before it is compared. A text that is not recognised, such as one in another language, gets a general sentence and a
# retry.
_REFUSED: Final = (  # by a setting; trying again changes nothing
    Unreachable(r"password authentication failed", "28P01", "it refuses the login or the password; correct them"),
    Unreachable(r"no password supplied", None, "it asks for a password, and there is none; add it"),
    Unreachable(r"pg_hba\.conf.*no encryption", "28000",
                "it does not let this login in from here, at least not without TLS; change `sslmode` in the extra, or "
                "add a line to the server's pg_hba.conf"),
    Unreachable(r"pg_hba\.conf", "28000",
                "it does not let this login in from here; add a line to the server's pg_hba.conf"),
    Unreachable(r'role "" does not exist|not permitted to log in|authentication failed', "28000",
                "it refuses the login; check that the role is there, has LOGIN, and is the one that `login` names"),
    Unreachable(r'database "" does not exist', "3D000",
                "it has no such database; correct `schema`, which is where Airflow keeps a database's name"),
    Unreachable(r"permission denied for database", "42501",
                "the role may not connect to the database; let its owner run GRANT CONNECT ON DATABASE ... TO ..."),
    Unreachable(r"not currently accepting connections", "55000", "the database is closed (ALLOW_CONNECTIONS false)"),
    Unreachable(r"does not support SSL", None,
                "the extra's `sslmode` asks for TLS, and the server has none; turn TLS on there, or change `sslmode`"),
    Unreachable(r"certificate", None,
                "its TLS certificate, or a certificate file of this computer, is not accepted; check `sslmode`, "
                "`sslrootcert`, `sslcert` and the host name"),
    Unreachable(r"invalid response to SSL negotiation|expected authentication request", None,
                "what answers there is no PostgreSQL server; correct host and port"),
    Unreachable(r"\binvalid\b|bad value", None,
                "a setting is not one that PostgreSQL's client takes; check the port and the names and values of the "
                "extra"),
)  # fmt: skip
_AWAY: Final = (  # it may come back by itself
    Unreachable(r"too many (connections|clients)|remaining connection slots", "53300",
                "it has no connection free; raise the limit or lower `parallel_shards`, if this stays so"),
    Unreachable(r"starting up|shutting down|recovery mode|not yet accepting", "57P03",
                "it is being started or shut down"),
    Unreachable(r"failed to resolve host", None,
                "its host name is not known here; check `host` and the name service of this computer"),
    Unreachable(r"Connection refused|No such file or directory", None,
                "nothing listens there; check host and port, and that the server is up"),
    Unreachable(r"timeout expired|timed out", None,
                "it does not answer in time; check host and port, and that no firewall is between"),
    Unreachable(r"No route to host|Network is unreachable", None, "no network leads there; check host and network"),
    Unreachable(r"standby|read-only", None, "no server there is of the kind that `target_session_attrs` asks for"),
    Unreachable(r"", None,
                "check that it is up, and host, port, database, login, password and the TLS settings of the extra"),
)  # fmt: skip


def translated(error: psycopg.Error, statement: str) -> WarehouseError | WarehouseRefusedError:
    """Return the error of a statement in this project's words; the kind says whether a retry may help."""
    sqlstate, diag = error.sqlstate, error.diag
    place = " ".join(
        name for name in (diag.schema_name, diag.table_name, diag.column_name, diag.constraint_name) if name
    )
    what = f"{statement}: {type(error).__name__} (SQLSTATE {sqlstate or 'none'}){f' at {place}' if place else ''}: "
    log = "The log of the warehouse's server has the full message."
    if sqlstate is None and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return WarehouseError(f"{what}{LOST}. {log}")
    beginnings = ((sqlstate or "")[:length] for length in (5, 2))
    code = next((code for code in beginnings if code in PASSING or code in LASTING), "")
    if code in PASSING:
        return WarehouseError(f"{what}{PASSING[code]}. {log}", sqlstate=sqlstate)
    return WarehouseRefusedError(
        f"{what}{LASTING.get(code, 'the statement fails each time')}. {log}", sqlstate=sqlstate
    )


def unreachable(error: psycopg.Error, where: str) -> WarehouseError | ConfigurationError:
    """Return why a connection could not be opened.

    Args:
        error: what psycopg raised.
        where: names the warehouse, such as "the warehouse of Airflow connection `warehouse`".
    """
    text = re.sub(r"\"[^\"\n]*\"|'[^'\n]*'", '""', str(error))
    found = next(cause for cause in (*_REFUSED, *_AWAY) if re.search(cause.pattern, text))
    sqlstate = error.sqlstate or found.sqlstate
    code = f" (SQLSTATE {sqlstate})" if sqlstate else ""
    message = f"No connection to {where}{code}: {found.cause}."
    if found in _REFUSED:
        return WarehouseRefusedError(message, sqlstate=sqlstate)
    return WarehouseError(message, sqlstate=sqlstate)
