"""Airflow's connections become settings and open warehouses; what is wrong with one is told without its secrets."""

from __future__ import annotations

import json
import re
import socket
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from crm_to_meta.errors import ConfigurationError, WarehouseError, WarehouseRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import AirflowHome

    from crm_to_meta_demo.embedded_postgres import EmbeddedPostgres

pytestmark = [pytest.mark.airflow, pytest.mark.filterwarnings("ignore")]

APP_SECRET = "0123456789abcdef0123456789abcdef"


def test_that_the_app_secret_and_its_proof_are_masked(
    airflow_home: AirflowHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever prints them in a task's log shows asterisks; without an app secret there is nothing to mask."""
    from crm_to_meta_airflow import connections

    extra = {"dataset_id": "1", "crm_name": "CRM"}
    with_secret = {"conn_type": "generic", "password": "token", "extra": {**extra, "app_secret": APP_SECRET}}
    monkeypatch.setenv("AIRFLOW_CONN_META_PLAIN", json.dumps({**with_secret, "extra": extra}))
    monkeypatch.setenv("AIRFLOW_CONN_META_PROVEN", json.dumps(with_secret))
    masked: list[str] = []
    monkeypatch.setattr(connections, "mask_secret", masked.append)

    connections.meta_settings("meta_plain", needs_token=True)
    assert masked == []
    settings = connections.meta_settings("meta_proven", needs_token=True)
    assert masked == [APP_SECRET, settings.proof["appsecret_proof"]]


def test_that_a_connection_is_looked_up_once(
    airflow_home: AirflowHome, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command asks the secrets backend once for each warehouse that it opens."""
    from airflow.sdk import Connection

    from crm_to_meta_cli.airflow_lookup import open_warehouse

    get, asked = Connection.get, list[str]()

    def count_and_get(connection_id: str) -> Any:
        asked.append(connection_id)
        return get(connection_id)

    monkeypatch.setattr(Connection, "get", count_and_get)
    monkeypatch.setenv("AIRFLOW_CONN_ONCE", postgres.airflow_connection("postgres"))
    with open_warehouse("once") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)

    assert asked == ["once"]


# Connections that cannot be read -------------------------------------------------------------------------------------

SECRET = "p4ssw0rd-of-jane"
UNREADABLE = {
    "no JSON": (f'{{"conn_type": "postgres", password: "{SECRET}"}}', r"no valid JSON from line 1, column 27 on"),
    "JSON that ends early": (
        f'{{"conn_type": "postgres", "password": "{SECRET}"',
        r"no valid JSON from line 1, column \d+",
    ),
    "a key that is none": (
        f'{{"conn_type": "postgres", "pasword": "{SECRET}"}}',
        "has a key that is none of conn_type",
    ),
    "a port that is none": (f'{{"conn_type": "postgres", "port": "{SECRET}"}}', "`port` has to be a number"),
    "a type that is none": (f'{{"conn_type": 5, "password": "{SECRET}"}}', "`conn_type` a text"),
    "a slash in the password": (f"postgres://jane:{SECRET}/x@db.example/crm", "percent-encoded"),
    "a bracket in the password": (f"postgres://jane:[{SECRET}@db.example/crm", "percent-encoded"),
}
UNFIT = {
    "JSON without a type": (f'{{"host": "db.example", "password": "{SECRET}"}}', "has no type"),
    "neither JSON nor a URL": (SECRET, "neither JSON nor a URL"),
    "an extra that is no JSON": (json.dumps({"conn_type": "postgres", "extra": f"{{{SECRET}"}), "extra cannot be read"),
    "an extra that is a list": (json.dumps({"conn_type": "postgres", "extra": f'["{SECRET}"]'}), "no JSON object"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_that_an_unreadable_variable_is_told(
    airflow_home: AirflowHome, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """Airflow says that there is none; the message says that it is set and what is wrong, not what is in it."""
    text, words = UNREADABLE[case]
    message = refusal_of(text, monkeypatch)

    assert message.startswith("AIRFLOW_CONN_BROKEN is set, but it is no connection that Airflow can read: ")
    assert_told(message, words)


@pytest.mark.parametrize("case", UNFIT)
def test_that_a_connection_that_says_too_little_is_told(
    airflow_home: AirflowHome, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """Airflow takes a text for a host and passes over an extra that it cannot read; neither goes on to a server."""
    text, words = UNFIT[case]
    message = refusal_of(text, monkeypatch)

    assert message.startswith("Airflow connection `broken`")
    assert_told(message, words)


@pytest.mark.parametrize("text", [None, "", "  "])
def test_that_an_absent_connection_is_told(
    airflow_home: AirflowHome, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    """With the two places to add it; an empty variable is as good as none."""
    assert_told(refusal_of(text, monkeypatch), "^There is no Airflow connection `broken`; add it .*AIRFLOW_CONN_BROKEN")


def refusal_of(text: str | None, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what is said of a connection's text, the same for the warehouse and for Meta."""
    from crm_to_meta_airflow.connections import meta_settings, open_warehouse

    monkeypatch.delenv("AIRFLOW_CONN_BROKEN", raising=False)
    if text is not None:
        monkeypatch.setenv("AIRFLOW_CONN_BROKEN", text)
    with pytest.raises(ConfigurationError) as of_warehouse, open_warehouse("broken"):
        pass
    with pytest.raises(ConfigurationError) as of_meta:
        meta_settings("broken", needs_token=False)
    assert str(of_warehouse.value) == str(of_meta.value)
    return str(of_meta.value)


def assert_told(message: str, words: str) -> None:
    """The message has the words and not the secret."""
    assert re.search(words, message)
    assert SECRET not in message


# Warehouses that cannot be opened -------------------------------------------------------------------------------------

ROLES = """
    CREATE ROLE with_password LOGIN PASSWORD 'right'; CREATE ROLE shut_out LOGIN; CREATE ROLE no_login;
    CREATE ROLE crowded LOGIN CONNECTION LIMIT 0; CREATE ROLE stranger LOGIN;
    REVOKE CONNECT ON DATABASE template1 FROM PUBLIC;
"""
NO_ROLES = """
    GRANT CONNECT ON DATABASE template1 TO PUBLIC;
    DROP ROLE with_password, shut_out, no_login, crowded, stranger;
"""
RULES = "local all with_password scram-sha-256\nlocal all shut_out reject\n"
CLOSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "wrong password": ({"login": "with_password", "password": SECRET}, WarehouseRefusedError, "28P01.*the password"),
    "no password": ({"login": "with_password"}, WarehouseRefusedError, "asks for a password"),
    "no rule for the login": ({"login": "shut_out"}, WarehouseRefusedError, r"28000.*pg_hba\.conf"),
    "no such role": ({"login": "nobody"}, WarehouseRefusedError, "28000.*refuses the login"),
    "no right to log in": ({"login": "no_login"}, WarehouseRefusedError, "28000.*has LOGIN"),
    "no such database": ({"login": "stranger", "schema": "nowhere"}, WarehouseRefusedError, "3D000.*no such database"),
    "no right to connect": ({"login": "stranger", "schema": "template1"}, WarehouseRefusedError, "42501.*CONNECT"),
    "closed database": ({"schema": "template0"}, WarehouseRefusedError, "55000.*ALLOW_CONNECTIONS"),
    "option that is none": ({"extra": {"nonsense": SECRET}}, WarehouseRefusedError, "a setting is not one"),
    "too many connections": ({"login": "crowded"}, WarehouseError, "53300.*no connection free"),
    "another kind of server": ({"extra": {"target_session_attrs": "standby"}}, WarehouseError, "target_session_attrs"),
    "no socket": ({"port": 1}, WarehouseError, "nothing listens there"),
}  # fmt: skip


@pytest.fixture
def picky_postgres(postgres: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    """The server with roles that have something against them."""
    with postgres.connect() as connection:
        (rules_file,) = connection.execute("SHOW hba_file").fetchall()[0]
        rules = Path(rules_file).read_text()
        connection.execute(ROLES)
        Path(rules_file).write_text(RULES + rules)
        connection.execute("SELECT pg_reload_conf()")
        while not is_shut_out(postgres):  # the server reads its rules when it comes to it
            connection.execute("SELECT pg_sleep(0.01)")
        yield postgres
        Path(rules_file).write_text(rules)
        connection.execute("SELECT pg_reload_conf()")
        connection.execute(NO_ROLES)


def is_shut_out(postgres: EmbeddedPostgres) -> bool:
    """Say whether the server knows the rule that keeps a role out."""
    try:
        psycopg.connect(host=postgres.socket_folder, user="shut_out", dbname="postgres").close()
    except psycopg.OperationalError:
        return True
    return False


def opening_of(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Try to open a warehouse."""
    from crm_to_meta_airflow.connections import open_warehouse

    monkeypatch.setenv("AIRFLOW_CONN_CLOSED", json.dumps({"conn_type": "postgres", **settings}))
    with open_warehouse("closed"):
        pytest.fail("it opened")


def test_that_a_warehouse_that_cannot_be_opened_is_told_by_its_cause(
    airflow_home: AirflowHome, picky_postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each cause has its sentence, and its SQLSTATE where PostgreSQL has one; settings are not tried again."""
    told = {}
    for case, (settings, _, _) in CLOSED.items():
        place = {"host": picky_postgres.socket_folder, "login": "postgres", "schema": "postgres"}
        with pytest.raises((WarehouseError, ConfigurationError)) as raised:
            opening_of({**place, **settings}, monkeypatch)
        told[case] = (type(raised.value), str(raised.value))

    assert {case: error for case, (error, _) in told.items()} == {case: error for case, (_, error, _) in CLOSED.items()}
    assert [case for case, (_, message) in told.items() if not re.search(CLOSED[case][2], message)] == []
    assert [case for case, (_, message) in told.items() if SECRET in message] == []


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """Answer each connection on a loopback port with some bytes, and hang up."""
    is_over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while not is_over.is_set():
                client, _ = server.accept()
                with client:
                    client.recv(1000)
                    if not is_over.is_set():
                        client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        is_over.set()
        socket.create_connection(server.getsockname()).close()
        thread.join()


@pytest.mark.parametrize(
    ("answer", "extra", "error", "words"),
    [
        (b"N", {"sslmode": "require"}, WarehouseRefusedError, "asks for TLS, and the server has none"),
        (b"S", {"sslmode": "verify-ca", "sslrootcert": "/no/such/file"}, WarehouseRefusedError, "certificate"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", {}, WarehouseRefusedError, "no PostgreSQL server"),
        (b"", {}, WarehouseError, "check that it is up"),
    ],
    ids=["no TLS there", "no certificate here", "a web server", "hangs up"],
)
def test_that_a_server_that_answers_otherwise_is_told(
    airflow_home: AirflowHome,
    monkeypatch: pytest.MonkeyPatch,
    answer: bytes,
    extra: dict[str, str],
    error: type[Exception],
    words: str,
) -> None:
    """TLS settings and wrong ports are a person's to correct; who hangs up may be starting."""
    with answering(answer) as port, pytest.raises(error, match=words):
        opening_of({"host": "127.0.0.1", "port": port, "extra": {"gssencmode": "disable", **extra}}, monkeypatch)


def test_that_a_port_on_which_nobody_listens_is_told(
    airflow_home: AirflowHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again: the server may be starting."""
    with pytest.raises(WarehouseError, match="nothing listens there"):
        opening_of({"host": "127.0.0.1", "port": 1}, monkeypatch)
