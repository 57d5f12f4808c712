"""The schema `capi`: how it comes into a warehouse, and that its words are those of the code."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from crm_to_meta.errors import ConfigurationError, WarehouseRefusedError
from crm_to_meta.ledger.schema import MIGRATIONS_FOLDER, migrate
from crm_to_meta.models import Mode, Reason, RequestOutcome, Status, held_back_table_of
from crm_to_meta_demo.environment import PROJECT_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from crm_to_meta.warehouse import Connection
    from crm_to_meta_demo.embedded_postgres import EmbeddedPostgres

MIGRATIONS = sorted(path.stem for path in MIGRATIONS_FOLDER.glob("*.sql"))
PUBLIC_TABLES = ("delivery", "request", "run", "quality", "erasure", "decision")
THREADS = 6


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The name of an empty database."""
    postgres.create_database("empty")
    yield "empty"
    with postgres.connect() as connection:
        connection.execute("DROP DATABASE empty WITH (FORCE)")


@pytest.fixture
def reader(warehouse: Connection, database: str) -> Iterator[str]:
    """A role that may log in and no more."""
    name = sql.Identifier(f"reader_of_{database}")
    warehouse.execute(sql.SQL("CREATE ROLE {}").format(name))
    yield f"reader_of_{database}"
    warehouse.execute("RESET ROLE")
    warehouse.execute(sql.SQL("DROP OWNED BY {}").format(name))
    warehouse.execute(sql.SQL("DROP ROLE {}").format(name))


def words_of(warehouse: Connection, table: str, column: str) -> set[str]:
    """Return the words that a column's CHECK constraint lists."""
    definitions = warehouse.execute(
        """
        SELECT pg_get_constraintdef(con.oid)
        FROM pg_constraint AS con
        INNER JOIN pg_attribute AS att ON att.attrelid = con.conrelid AND con.conkey = ARRAY[att.attnum]
        WHERE con.contype = 'c' AND con.conrelid = to_regclass('capi.' || %s) AND att.attname = %s
        """,
        [table, column],
    ).fetchall()
    return {word for (text,) in definitions for word in re.findall("'([a-z_]+)'", text)}


def migrate_first(warehouse: Connection, last: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Apply the migrations of an older version: those up to a number."""
    for name in MIGRATIONS:
        if int(name[:4]) <= last:
            (folder / f"{name}.sql").write_bytes((MIGRATIONS_FOLDER / f"{name}.sql").read_bytes())
    with monkeypatch.context() as older:
        older.setattr("crm_to_meta.ledger.schema.MIGRATIONS_FOLDER", folder)
        migrate(warehouse)


def test_empty_warehouse_gets_all_migrations_once(warehouse: Connection) -> None:
    """The first call applies everything that there is, the second nothing."""
    first, second = migrate(warehouse), migrate(warehouse)

    assert first == MIGRATIONS
    assert second == []
    assert warehouse.execute("SELECT name FROM capi.migration ORDER BY name").fetchall() == [(n,) for n in MIGRATIONS]


def test_tasks_that_start_at_once_take_turns(postgres: EmbeddedPostgres, database: str) -> None:
    """However many tasks migrate at the same moment, each migration is applied by one of them and none fails."""
    applied: list[str] = []
    failures: list[Exception] = []
    barrier = threading.Barrier(THREADS, timeout=60)

    def work() -> None:
        with postgres.connect(database) as connection:
            barrier.wait()
            try:
                applied.extend(migrate(connection))
            except Exception as error:  # noqa: BLE001 - handed to the assert below
                failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert sorted(applied) == MIGRATIONS


@pytest.mark.parametrize(
    ("table", "column", "words"),
    [
        ("delivery", "status", set(Status)),
        ("delivery", "reason", set(Reason)),
        ("run", "mode", set(Mode)),
        ("request", "mode", set(Mode)),
        ("request", "outcome", set(RequestOutcome)),
    ],
    ids=["status", "reason", "mode of runs", "mode of requests", "outcome of requests"],
)
def test_words_of_code_and_tables_are_the_same(warehouse: Connection, table: str, column: str, words: set[str]) -> None:
    """What the code can say the table takes, and nothing else."""
    migrate(warehouse)

    assert words_of(warehouse, table, column) == words


def test_a_run_counts_every_status(warehouse: Connection) -> None:
    """capi.run has a column for each status."""
    migrate(warehouse)
    columns = warehouse.execute("SELECT attname FROM pg_attribute WHERE attrelid = 'capi.run'::regclass").fetchall()

    assert {str(status) for status in Status} <= {name for (name,) in columns}


def test_what_no_erasure_could_ask_for_is_cleared(
    warehouse: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lead ids that lost their leading zeros, and are none without them, leave the ledger; all others stay."""
    migrate_first(warehouse, 6, tmp_path, monkeypatch)
    for lead_id in (0, 12345678901234, 123456789012345, 99999999999999999):
        warehouse.execute(
            "INSERT INTO capi.delivery (event_id, pipeline, status, run_key, lead_id) "
            "VALUES (gen_random_uuid(), 'leads', 'delivered', 'run', %s)",
            [lead_id],
        )
    migrate(warehouse)
    left = warehouse.execute("SELECT lead_id FROM capi.delivery ORDER BY lead_id").fetchall()

    assert left == [(123456789012345,), (99999999999999999,), (None,), (None,)]


def test_rows_held_back_by_a_run_at_work_stay_so(
    warehouse: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upgrade in the midst of a run keeps the run's list, under the name that the new version looks for."""
    migrate_first(warehouse, 7, tmp_path, monkeypatch)
    former = held_back_table_of("run").replace("held_back_", "verdict_")
    warehouse.execute(sql.SQL("CREATE TABLE {} (LIKE capi.verdict)").format(sql.Identifier("capi", former)))
    migrate(warehouse)
    found = warehouse.execute("SELECT tablename FROM pg_tables WHERE tablename ~ '^(verdict|held_back)' ORDER BY 1")

    assert found.fetchall() == [("held_back",), (held_back_table_of("run"),)]


def test_refusals_of_meta_are_reasons(warehouse: Connection) -> None:
    """`meta_` and a number is a reason; `meta_` and a text is not."""
    migrate(warehouse)
    insert = """
        INSERT INTO capi.delivery (event_id, pipeline, status, reason, run_key)
        VALUES (gen_random_uuid(), 'p', 'rejected', %s, 'r')
    """
    warehouse.execute(insert, ["meta_2804036"])

    with pytest.raises(psycopg.errors.CheckViolation, match="delivery_reason_check"):
        warehouse.execute(insert, ["meta_somebody@example.com"])


def test_every_table_and_function_has_a_comment(warehouse: Connection) -> None:
    """Who looks around in the schema finds out what each thing is for."""
    migrate(warehouse)
    uncommented = warehouse.execute(
        """
        SELECT relname FROM pg_class
        WHERE relnamespace = 'capi'::regnamespace AND relkind = 'r' AND obj_description(oid, 'pg_class') IS NULL
        UNION ALL
        SELECT proname FROM pg_proc
        WHERE pronamespace = 'capi'::regnamespace AND obj_description(oid, 'pg_proc') IS NULL
        """
    ).fetchall()

    assert uncommented == []


@pytest.mark.parametrize("table", PUBLIC_TABLES)
def test_every_public_column_has_a_comment(warehouse: Connection, table: str) -> None:
    """The tables that people query say what each of their columns means."""
    migrate(warehouse)
    uncommented = warehouse.execute(
        """
        SELECT attname FROM pg_attribute
        WHERE attrelid = to_regclass('capi.' || %s) AND attnum > 0 AND NOT attisdropped
            AND col_description(attrelid, attnum) IS NULL
        """,
        [table],
    ).fetchall()

    assert uncommented == []


def test_role_that_may_not_create_the_schema_changes_nothing(warehouse: Connection, reader: str) -> None:
    """It gets one sentence with the GRANT, and nothing is left half done."""
    warehouse.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(reader)))

    with pytest.raises(ConfigurationError, match=f'GRANT CREATE ON DATABASE ".*" TO "{reader}";$') as raised:
        migrate(warehouse)
    warehouse.execute("RESET ROLE")

    assert "\n" not in str(raised.value)
    assert warehouse.execute("SELECT to_regnamespace('capi')").fetchone() == (None,)


def test_schema_that_was_made_for_the_role_still_takes_create_on_the_database(
    warehouse: Connection, reader: str
) -> None:
    """PostgreSQL asks for it even where the schema is there, so the message does, too."""
    role = sql.Identifier(reader)
    warehouse.execute(sql.SQL("CREATE SCHEMA capi AUTHORIZATION {}").format(role))
    warehouse.execute(sql.SQL("SET ROLE {}").format(role))

    with pytest.raises(ConfigurationError, match="GRANT CREATE ON DATABASE"):
        migrate(warehouse)


def test_upgrade_of_tables_of_another_role_is_told(warehouse: Connection, reader: str) -> None:
    """All rights on the tables are enough to work with them, and not enough to alter them."""
    migrate(warehouse)
    role = sql.Identifier(reader)
    for grant in (
        "GRANT USAGE, CREATE ON SCHEMA capi TO {}",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA capi TO {}",
    ):
        warehouse.execute(sql.SQL(grant).format(role))
    warehouse.execute(sql.SQL("SET ROLE {}").format(role))
    assert migrate(warehouse) == []
    warehouse.execute("DELETE FROM capi.migration WHERE name = %s", [MIGRATIONS[2]])

    with pytest.raises(ConfigurationError, match=f'GRANT "postgres" TO "{reader}"; or make {reader} the owner'):
        migrate(warehouse)


def test_schema_of_a_newer_version_is_left_alone(warehouse: Connection) -> None:
    """An older version of the code refuses a schema that it does not know, and names what it does not know."""
    migrate(warehouse)
    warehouse.execute("INSERT INTO capi.migration (name) VALUES ('9999_of_tomorrow')")

    with pytest.raises(ConfigurationError, match=r"9999_of_tomorrow.*deploy the newer version"):
        migrate(warehouse)


def test_failed_migration_leaves_nothing_behind(warehouse: Connection) -> None:
    """A migration is one transaction: what it had made before it failed is gone."""
    warehouse.execute("CREATE SCHEMA capi; CREATE TABLE capi.request (of_somebody_else integer)")

    with pytest.raises(WarehouseRefusedError, match=MIGRATIONS[0]) as raised:
        migrate(warehouse)

    assert raised.value.sqlstate == "42P07"  # duplicate_table
    assert warehouse.execute("SELECT to_regclass('capi.migration'), to_regclass('capi.run')").fetchone() == (None, None)


@pytest.mark.parametrize(("table", "column"), [("chunk", "state"), ("request", "outcome"), ("delivery", "status")])
def test_the_page_about_delivery_names_every_state(warehouse: Connection, table: str, column: str) -> None:
    """docs/delivery.md explains what a kill leaves behind, in the very words of the tables."""
    migrate(warehouse)
    page = (PROJECT_FOLDER / "docs" / "delivery.md").read_text(encoding="utf-8")
    states = words_of(warehouse, table, column)

    assert states
    assert [state for state in states if f"`{state}`" not in page] == []
