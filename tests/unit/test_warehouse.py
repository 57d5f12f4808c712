"""SQL files and the code that runs them belong together, and no failure of the warehouse quotes a row."""

from __future__ import annotations

import ast
import re
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from string import Formatter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import psycopg
import pytest
from psycopg import sql

from crm_to_meta.errors import StagingLostError, WarehouseError, WarehouseRefusedError
from crm_to_meta.extract.step import _stage_rows
from crm_to_meta.ledger.schema import MIGRATIONS_FOLDER
from crm_to_meta.models import DagRunFacts, Mode, Window
from crm_to_meta.pipeline.settings import REQUIRED_FIELDS, SOURCE_FIELDS, Pipeline, Source
from crm_to_meta.warehouse import PACKAGE_FOLDER, compose, execute, table

if TYPE_CHECKING:
    from crm_to_meta.warehouse import Connection

PROJECT_FOLDER = Path(__file__).resolve().parents[2]
STATEMENTS = sorted(f"{path.parents[1].name}/{path.stem}" for path in PACKAGE_FOLDER.glob("*/sql/*.sql"))


class Call(NamedTuple):
    """One `execute(connection, "<statement>", ..., name=identifier)` in the code."""

    place: str
    statement: str | None
    identifiers: frozenset[str | None]  # None stands for **identifiers


def find_calls() -> list[Call]:
    """Return every call in the project's code."""
    return [
        call
        for folder in ("include", "plugins", "dags")
        for path in sorted((PROJECT_FOLDER / folder).rglob("*.py"))
        for call in find_calls_in(path)
    ]


def find_calls_in(path: Path) -> list[Call]:
    """Return the calls in one file."""
    calls = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        place_of_name = {"execute": 1, "compose": 0}.get(node.func.id)
        if place_of_name is None or path == PACKAGE_FOLDER / "warehouse.py":  # which passes names on
            continue
        name = node.args[place_of_name] if len(node.args) > place_of_name else None
        calls.append(
            Call(
                place=f"{path.relative_to(PROJECT_FOLDER)}:{node.lineno}",
                statement=name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else None,
                identifiers=frozenset(keyword.arg for keyword in node.keywords) - {"parameters"},
            )
        )
    return calls


CALLS = find_calls()


def text_of(statement: str) -> str:
    """Return the text of a statement's file."""
    folder, name = statement.split("/")
    return (PACKAGE_FOLDER / folder / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def identifiers_of(statement: str) -> set[str]:
    """Return the names that stand in braces in a statement's file."""
    return {name for _, name, _, _ in Formatter().parse(text_of(statement)) if name is not None}


# --- Files and code ---------------------------------------------------------------------------------------------------


def test_statements_are_named_where_they_are_run() -> None:
    """Each call names its file in plain text: who reads the code finds the SQL."""
    assert [call.place for call in CALLS if call.statement is None] == []


def test_every_statement_that_is_run_exists() -> None:
    """No call names a file that is not there."""
    assert [call for call in CALLS if call.statement not in STATEMENTS] == []


@pytest.mark.parametrize("statement", STATEMENTS)
def test_every_file_is_run_by_some_code(statement: str) -> None:
    """No SQL lies around unused."""
    assert Counter(call.statement for call in CALLS)[statement] >= 1


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.place} {call.statement}")
def test_every_call_fills_in_the_names_of_its_file(call: Call) -> None:
    """What stands in braces in the file is given by the call, and nothing else is."""
    expected = identifiers_of(str(call.statement))

    given = call.identifiers - {None}
    assert given <= expected
    assert given == expected or None in call.identifiers


@pytest.mark.parametrize("statement", STATEMENTS)
def test_every_file_composes(statement: str) -> None:
    """With its names filled in, no brace is left over or missing."""
    identifiers = {name: sql.Identifier("capi", name) for name in identifiers_of(statement)}

    composed = compose(statement, **identifiers).as_string(None)

    for name in identifiers:
        assert f'"capi"."{name}"' in composed


@pytest.mark.parametrize("statement", STATEMENTS)
def test_every_percent_sign_is_a_parameter_or_doubled(statement: str) -> None:
    """The driver would stumble over any other."""
    without_parameters = re.sub(r"%%|%\([a-z_0-9]+\)[sbt]", "", text_of(statement))

    assert "%" not in without_parameters


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_file_holds_one_statement(statement: str) -> None:
    """One statement per file: a semicolon stands at its end or nowhere."""
    without_comments = re.sub(r"--.*|'[^']*'", "", text_of(statement))

    assert ";" not in without_comments.rstrip().removesuffix(";")


@pytest.mark.parametrize("path", sorted(MIGRATIONS_FOLDER.glob("*")), ids=lambda path: path.name)
def test_migrations_are_numbered(path: Path) -> None:
    """Their names sort in the order in which they are applied."""
    assert re.fullmatch(r"\d{4}_[a-z0-9_]+\.sql", path.name)


def test_migrations_have_numbers_of_their_own() -> None:
    """Two of one number would be applied in the order of their words."""
    numbers = [path.name[:4] for path in sorted(MIGRATIONS_FOLDER.glob("*.sql"))]

    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]


# --- Running a statement ----------------------------------------------------------------------------------------------


class FakeConnection:
    """Takes a statement down, or fails with an error of the driver."""

    def __init__(self, error: psycopg.Error | None = None) -> None:
        self.executed: list[tuple[str, Any]] = []
        self._error = error

    def execute(self, query: sql.Composable, parameters: object) -> SimpleNamespace:
        """Keep the statement's text and its parameters."""
        self.executed.append((query.as_string(None), parameters))
        if self._error:
            raise self._error
        return SimpleNamespace(rowcount=7)


def as_connection(fake: FakeConnection) -> Connection:
    """Pass the fake where a connection is wanted."""
    return cast("Connection", fake)


def test_a_statement_is_run_with_its_names_and_parameters() -> None:
    """Names are quoted into the text; values go to the driver apart from it."""
    fake = FakeConnection()

    cursor = execute(as_connection(fake), "ledger/drop_table", {"a": 1}, table=table('x"y'))

    assert cursor.rowcount == 7
    assert [parameters for _, parameters in fake.executed] == [{"a": 1}]
    assert fake.executed[0][0].strip() == 'DROP TABLE IF EXISTS "capi"."x""y"'


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("event_time_type", ["timestamptz", "timestamp", "text", "epoch_seconds"])
@pytest.mark.parametrize("fields", [REQUIRED_FIELDS, SOURCE_FIELDS], ids=["required fields", "all fields"])
def test_staging_fills_in_every_name_and_binds_every_parameter(
    mode: Mode, event_time_type: str, fields: tuple[str, ...]
) -> None:
    """The one statement whose names depend on the pipeline: whatever it says, nothing is left open."""
    source = Source.model_validate({"event_time_type": event_time_type})
    pipeline = Pipeline(name="leads", start_date=date(2026, 1, 1), stages={"new": "Lead"}, source=source)
    end = datetime(2026, 3, 11, tzinfo=UTC)
    window = Window(start=end - timedelta(days=1), end=end, is_sweep=True)
    facts = DagRunFacts(dag_run_id="run", run_type="scheduled", mode=mode, window=window)
    columns = {field: f"the {field}" for field in fields}
    fake = FakeConnection()

    staged = _stage_rows(as_connection(fake), pipeline, facts, columns, run_key="key", now=end)

    text, parameters = fake.executed[-1]
    assert staged == 7
    assert set(re.findall(r"%\(([a-z_0-9]+)\)s", text)) <= set(parameters)
    assert all(f'"{column}"' in text for column in columns.values())


def test_a_table_is_one_of_ours_or_of_a_named_schema() -> None:
    """By default the schema `capi`."""
    assert table("run").as_string(None) == '"capi"."run"'
    assert table("leads", "crm").as_string(None) == '"crm"."leads"'


def test_a_failure_names_its_statement() -> None:
    """Whoever reads the message finds the SQL file."""
    with pytest.raises(WarehouseError, match=r"^ledger/migrate_exists: DeadlockDetected \(SQLSTATE 40P01\): "):
        execute(as_connection(FakeConnection(psycopg.errors.DeadlockDetected("x"))), "ledger/migrate_exists")


@pytest.mark.parametrize(
    ("statement", "error"),
    [("transform/count_staged", StagingLostError), ("ledger/migrate_list", WarehouseRefusedError)],
    ids=["a run's own table", "another table"],
)
def test_a_table_of_a_run_that_is_gone_was_taken_over(statement: str, error: type[Exception]) -> None:
    """A run's own tables are dropped by whoever takes the run over or closes it; other tables nobody should drop."""
    names = {name: table(name) for name in identifiers_of(statement)}

    with pytest.raises(error):
        execute(as_connection(FakeConnection(psycopg.errors.UndefinedTable("x"))), statement, **names)


def test_only_errors_of_the_driver_are_translated() -> None:
    """A defect of ours shows itself as it is."""
    with pytest.raises(KeyError):
        execute(as_connection(FakeConnection()), "ledger/drop_table")
