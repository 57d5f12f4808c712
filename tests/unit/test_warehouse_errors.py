"""Which failures of PostgreSQL are tried again, and that none of its texts goes on."""

from __future__ import annotations

import traceback
from types import SimpleNamespace

import psycopg
import pytest

from crm_to_meta.errors import PermanentError, RetryableError, WarehouseError, WarehouseRefusedError
from crm_to_meta.warehouse_errors import LASTING, PASSING, translated, unreachable

SECRET = "jane@example.com"
WHERE = "the warehouse of Airflow connection `warehouse`"
# Of PostgreSQL's appendix A.
PASSES = {
    "connection failure": "08006",
    "another worker was faster": "23505",
    "standby after a failover": "25006",
    "idle for too long": "25P03",
    "serialization failure": "40001",
    "deadlock": "40P01",
    "disk full": "53100",
    "out of memory": "53200",
    "too many connections": "53300",
    "lock not available": "55P03",
    "query canceled": "57014",
    "admin shutdown": "57P01",
    "crash shutdown": "57P02",
    "cannot connect now": "57P03",
    "input or output error": "58030",
    "internal error": "XX000",
}
LASTS = {
    "not supported": "0A000",
    "division by zero": "22012",
    "text that is no number": "22P02",
    "not null": "23502",
    "check": "23514",
    "transaction was aborted": "25P02",
    "no schema": "3F000",
    "no right": "42501",
    "syntax": "42601",
    "no column": "42703",
    "no function": "42883",
    "no table": "42P01",
    "table twice": "42P07",
    "too complex": "54001",
    "object in use": "55006",
    "raised by a trigger": "P0001",
    "data corrupted": "XX001",
}


def error_of(sqlstate: str) -> psycopg.Error:
    """Make an error whose text quotes a value."""
    return psycopg.errors.lookup(sqlstate)(f"Key (email)=({SECRET}) already exists.")


@pytest.mark.parametrize("case", PASSES)
def test_what_passes_by_itself_is_tried_again(case: str) -> None:
    """Connections, locks, restarts, resources: the same statement may succeed later; Airflow's own delay decides."""
    failure = translated(error_of(PASSES[case]), "load/end_request")

    assert isinstance(failure, RetryableError)
    assert failure.retry_after_s is None
    assert failure.sqlstate == PASSES[case]


@pytest.mark.parametrize("case", LASTS)
def test_what_no_retry_cures_is_not_tried_again(case: str) -> None:
    """Rights, tables, values, syntax: a person has something to do."""
    failure = translated(error_of(LASTS[case]), "load/end_request")

    assert isinstance(failure, PermanentError)
    assert failure.sqlstate == LASTS[case]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (psycopg.OperationalError("server closed the connection"), WarehouseError),
        (psycopg.InterfaceError("the connection is closed"), WarehouseError),
        (psycopg.DataError(SECRET), WarehouseRefusedError),
        (psycopg.ProgrammingError(SECRET), WarehouseRefusedError),
    ],
    ids=lambda value: type(value).__name__,
)
def test_without_a_code_the_kind_of_error_decides(error: psycopg.Error, expected: type[Exception]) -> None:
    """A connection that was lost has no SQLSTATE, nor has what the driver itself refuses to send."""
    assert type(translated(error, "load/end_request")) is expected


@pytest.mark.parametrize("sqlstate", [*PASSES.values(), *LASTS.values()])
def test_no_message_repeats_the_text_of_postgresql(sqlstate: str) -> None:
    """It may quote values of a row; the statement, the SQLSTATE and a cause in our words take its place."""
    failure = translated(error_of(sqlstate), "load/end_request")

    assert str(failure).startswith(f"load/end_request: {type(error_of(sqlstate)).__name__} (SQLSTATE {sqlstate}): ")
    assert str(failure).endswith(". The log of the warehouse's server has the full message.")
    assert SECRET not in "".join(traceback.format_exception(failure))


def test_a_message_names_what_postgresql_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of objects are no values."""
    names = {"schema_name": "capi", "table_name": "run", "column_name": None, "constraint_name": "run_mode_check"}
    monkeypatch.setattr(psycopg.errors.CheckViolation, "diag", SimpleNamespace(**names))

    assert "(SQLSTATE 23514) at capi run run_mode_check: " in str(translated(error_of("23514"), "extract/insert_run"))


@pytest.mark.parametrize("code", [*PASSING, *LASTING])
def test_every_code_with_a_cause_is_one_of_postgresql(code: str) -> None:
    """A code that was mistyped would never be found."""
    known = {
        error.sqlstate
        for error in vars(psycopg.errors).values()
        if isinstance(error, type) and issubclass(error, psycopg.Error) and error.sqlstate
    }

    assert any(sqlstate.startswith(code) for sqlstate in known)
    assert len(code) in {2, 5}


FAILED = 'connection failed: connection to server at "127.0.0.1", port 5432 failed: '
REFUSED = {  # what psycopg 3.3 and PostgreSQL 18 said
    'FATAL:  password authentication failed for user "jane"': ("28P01", "correct them"),
    "fe_sendauth: no password supplied": (None, "asks for a password"),
    'FATAL:  no pg_hba.conf entry for host "::1", user "jane", database "crm", no encryption': ("28000", "without TLS"),
    'FATAL:  no pg_hba.conf entry for host "::1", user "jane", database "crm", SSL encryption': (
        "28000",
        "pg_hba.conf",
    ),
    'FATAL:  role "too many connections" does not exist': ("28000", "has LOGIN"),
    'FATAL:  role "jane" is not permitted to log in': ("28000", "has LOGIN"),
    'FATAL:  Peer authentication failed for user "jane"': ("28000", "has LOGIN"),
    'FATAL:  database "certificate" does not exist': ("3D000", "no such database"),
    'FATAL:  permission denied for database "crm"\nDETAIL:  User does not have CONNECT privilege.': ("42501", "GRANT"),
    'FATAL:  database "crm" is not currently accepting connections': ("55000", "closed"),
    "server does not support SSL, but SSL was required": (None, "asks for TLS"),
    "SSL error: certificate verify failed": (None, "not accepted"),
    'server certificate for "a.example" does not match host name "localhost"': (None, "not accepted"),
    'root certificate file "/home/jane/.postgresql/root.crt" does not exist\nEither provide the file, use the '
    "system's trusted roots with sslrootcert=system, or change sslmode": (None, "not accepted"),
    "received invalid response to SSL negotiation: H": (None, "no PostgreSQL server"),
    'invalid sslmode value: "nonsense"': (None, "a setting is not one"),
    'invalid port number: "0"': (None, "a setting is not one"),
}
AWAY = {
    'FATAL:  too many connections for role "jane"': ("53300", "no connection free"),
    "FATAL:  sorry, too many clients already": ("53300", "no connection free"),
    "FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute": ("53300", "free"),
    "FATAL:  the database system is starting up": ("57P03", "started or shut down"),
    "FATAL:  the database system is in recovery mode": ("57P03", "started or shut down"),
    "FATAL:  the database system is not yet accepting connections": ("57P03", "started or shut down"),
    "failed to resolve host 'certificate.invalid': [Errno -2] Name or service not known": (None, "host name"),
    "Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?": (None, "listens"),
    "No such file or directory\n\tIs the server running locally?": (None, "listens"),
    "connection timeout expired": (None, "in time"),
    "No route to host": (None, "no network"),
    "server is not in hot standby mode": (None, "target_session_attrs"),
    "server closed the connection unexpectedly": (None, "check that it is up"),
    "FATAL:  Passwort-Authentifizierung fehlgeschlagen": (None, "check that it is up"),
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_connection_that_a_setting_forbids_is_not_tried_again(text: str) -> None:
    """Login, database, TLS: each has its own words, and its SQLSTATE where PostgreSQL has one."""
    sqlstate, words = REFUSED[text]
    failure = unreachable(psycopg.OperationalError(f"{FAILED}{text}"), WHERE)

    assert isinstance(failure, WarehouseRefusedError)
    assert failure.sqlstate == sqlstate
    assert words in str(failure)
    assert str(failure).startswith(f"No connection to {WHERE}{f' (SQLSTATE {sqlstate})' if sqlstate else ''}: ")


@pytest.mark.parametrize("text", AWAY)
def test_a_warehouse_that_may_come_back_is_tried_again(text: str) -> None:
    """Network, start, too many connections, and whatever nobody has foreseen."""
    sqlstate, words = AWAY[text]
    failure = unreachable(psycopg.OperationalError(f"{FAILED}{text}"), WHERE)

    assert isinstance(failure, WarehouseError)
    assert failure.sqlstate == sqlstate
    assert words in str(failure)
    assert "jane" not in str(failure)
