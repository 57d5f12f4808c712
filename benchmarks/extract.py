"""Time extract on a big ledger: `make bench-extract LEDGER=10000000 CANDIDATES=1000000`.

It prints seconds per statement and, if asked, the plan of the extract statement. CANDIDATES is the number of
transitions per day. The step runs for a new day, for a day that was delivered, and as a sweep over eight days of which
the last is new. Each extraction is rolled back.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql

from crm_to_meta.extract import step
from crm_to_meta.ledger.schema import migrate
from crm_to_meta.models import DagRunFacts, Mode, Window
from crm_to_meta.pipeline.settings import Pipeline
from crm_to_meta.warehouse import Connection, compose, execute
from crm_to_meta_demo.embedded_postgres import running_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SQL_FOLDER: Final = Path(__file__).parent / "sql"
_LAST_MIDNIGHT: Final = datetime(2026, 3, 21, tzinfo=UTC)
_DAYS_IN_SOURCE: Final = 9
_WORTH_A_LINE_S: Final = 0.5
_SERVER_SETTINGS: Final = {"max_wal_size": "8GB", "maintenance_work_mem": "512MB"}  # the rest is PostgreSQL's default
_PIPELINE: Final = Pipeline(
    name="bench",
    start_date=date(2026, 1, 1),
    stages={"new": "Lead", "contacted": "Contacted", "qualified": "Qualified"},
)
_SCENARIOS: Final = {
    "a day that is new": Window(start=_LAST_MIDNIGHT - timedelta(days=1), end=_LAST_MIDNIGHT, is_sweep=False),
    "a day that was delivered": Window(
        start=_LAST_MIDNIGHT - timedelta(days=2), end=_LAST_MIDNIGHT - timedelta(days=1), is_sweep=False
    ),
    "a sweep of eight days": Window(start=_LAST_MIDNIGHT - timedelta(days=8), end=_LAST_MIDNIGHT, is_sweep=True),
}


def main() -> None:
    """Fill the warehouse, run the scenarios, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--ledger", type=int, default=10_000_000, help="rows of the ledger")
    parser.add_argument("--candidates", type=int, default=1_000_000, help="rows of the source per day")
    parser.add_argument("--plan", action="store_true", help="print the plan of the extract statement for each scenario")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _configure(Path(folder))
        with running_postgres(Path(folder)) as server, server.connect() as connection:
            migrate(connection)
            _fill(connection, ledger=options.ledger, candidates=options.candidates)
            print(f"\nledger: {options.ledger:,} rows, {options.candidates:,} transitions a day\n")
            print(f"{'scenario':<26}{'candidates':>12}{'staged':>12}{'statement':>12}{'whole step':>12}")
            for name, window in _SCENARIOS.items():
                _run(connection, name, window, with_plan=options.plan)


def _configure(folder: Path) -> None:
    """Set what needs a restart before the server starts for good."""
    with running_postgres(folder) as server, server.connect() as connection:
        for setting, value in _SERVER_SETTINGS.items():
            connection.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(setting), sql.Literal(value)))


def _fill(connection: Connection, *, ledger: int, candidates: int) -> None:
    scope = {"pipeline": _PIPELINE.name, "ledger": ledger, "candidates": candidates, "days": _DAYS_IN_SOURCE}
    scope["last_midnight"] = _LAST_MIDNIGHT  # type: ignore[assignment]
    for path in sorted(_SQL_FOLDER.glob("fill_*.sql")):
        started = time.perf_counter()
        psycopg.ClientCursor(connection).execute(path.read_bytes(), scope)  # several statements, with parameters
        print(f"{path.stem}: {time.perf_counter() - started:.1f} s")
    for name in ("capi.delivery", "crm.lead_stage_transitions"):
        connection.execute(sql.SQL("VACUUM ANALYZE {}").format(sql.Identifier(*name.split("."))))


def _run(connection: Connection, name: str, window: Window, *, with_plan: bool) -> None:
    facts = DagRunFacts(dag_run_id=name, run_type="scheduled", mode=Mode.LIVE, window=window)
    now = _LAST_MIDNIGHT + timedelta(hours=1)
    (candidates,) = connection.execute(
        "SELECT count(*) FROM crm.lead_stage_transitions WHERE event_time >= %s AND event_time < %s",
        [window.start, window.end],
    ).fetchall()[0]
    with _timed_statements() as seconds, connection.transaction(force_rollback=True):
        started = time.perf_counter()
        extraction = step.extract(connection, _PIPELINE, facts, now=now)
        whole = time.perf_counter() - started
    statement = seconds["extract/stage_rows"]
    print(f"{name:<26}{candidates:>12,}{extraction.staged:>12,}{statement:>10.1f} s{whole:>10.1f} s")
    for other, spent in sorted(seconds.items(), key=lambda pair: -pair[1]):
        if spent > _WORTH_A_LINE_S and other != "extract/stage_rows":
            print(f"    {other}: {spent:.1f} s")
    if with_plan:
        with _explained_statement(), connection.transaction(force_rollback=True):
            step.extract(connection, _PIPELINE, facts, now=now)
    connection.execute("VACUUM ANALYZE capi.delivery")


@contextmanager
def _timed_statements() -> Iterator[dict[str, float]]:
    seconds: dict[str, float] = {}

    def timed(connection: Connection, statement: str, *arguments: Any, **identifiers: Any) -> Any:
        started = time.perf_counter()
        cursor = execute(connection, statement, *arguments, **identifiers)
        seconds[statement] = seconds.get(statement, 0.0) + time.perf_counter() - started
        return cursor

    with _replaced_execute(timed):
        yield seconds


@contextmanager
def _explained_statement() -> Iterator[None]:
    def explained(
        connection: Connection, statement: str, parameters: Mapping[str, Any] | None = None, **identifiers: Any
    ) -> Any:
        if statement == "extract/stage_rows":
            query = sql.SQL("EXPLAIN (ANALYZE, COSTS OFF, VERBOSE OFF) ") + compose(statement, **identifiers)
            with connection.transaction(force_rollback=True):
                for (line,) in connection.execute(query, parameters):
                    print(f"    {line}")
        return execute(connection, statement, parameters, **identifiers)

    with _replaced_execute(explained):
        yield


@contextmanager
def _replaced_execute(replacement: Any) -> Iterator[None]:
    original = step.execute
    step.execute = replacement
    try:
        yield
    finally:
        step.execute = original


if __name__ == "__main__":
    main()
