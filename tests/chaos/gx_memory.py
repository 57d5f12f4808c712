"""Great Expectations judges once, and what it asked is asked again: a round needs its verdicts, not its start-up.

In: the real `check_table` and a folder. Out: one that behaves alike. The first time that a contract comes up GX judges
the rows, and the queries for the failing ones are written down. From then on they are put to other staging tables
without GX, which takes a small part of the time. What is done with the verdicts is always the real thing.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any, Final

import psycopg
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.dialects import postgresql

from crm_to_meta.gx_pushdown import Outcome
from crm_to_meta.warehouse import run_query

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_DIALECT: Final = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
_TABLE: Final = "the_staging_table"  # stands in a query that was written down where a table's name goes


def remembering(check_table: Callable[..., list[Outcome]], folder: Path, database: str) -> Callable[..., list[Outcome]]:
    """Return a `check_table` that asks Great Expectations only for contracts that are not in the folder."""

    def check(url: str, *, schema: str, table: str, expectations: Sequence[Any]) -> list[Outcome]:
        contract = json.dumps([expectation.configuration.to_json_dict() for expectation in expectations])
        memory = folder / f"{hashlib.sha256(contract.encode()).hexdigest()}.json"
        if memory.exists():
            return _ask(database, json.loads(memory.read_text()), schema=schema, table=table)
        outcomes = check_table(url, schema=schema, table=table, expectations=expectations)
        _write_down(memory, outcomes, table)
        return outcomes

    return check


def _write_down(memory: Path, outcomes: Sequence[Outcome], table: str) -> None:
    if any(outcome.failing_rows is None for outcome in outcomes):
        return  # a rule about the batch as a whole: GX alone can tell
    queries = [
        str(outcome.failing_rows.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True}))  # type: ignore[union-attr]
        for outcome in outcomes
    ]
    draft = memory.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps([query.replace(table, _TABLE) for query in queries]))
    draft.replace(memory)  # at once, since workers may do this at the same time, and be killed


def _ask(database: str, queries: Sequence[str], *, schema: str, table: str) -> list[Outcome]:
    here = [query.replace(_TABLE, table) for query in queries]
    counts = [f"(SELECT count(*) FROM ({query}) AS failing)" for query in here]
    question = f'SELECT (SELECT count(*) FROM {schema}."{table}"), ARRAY[{", ".join(counts)}]'
    with psycopg.connect(database, autocommit=True) as connection:
        cursor = run_query(connection, sql.SQL(question), name="gx_memory")  # type: ignore[arg-type]
        checked, failed = cursor.fetchall()[0]
    return [
        Outcome(success=not number, checked=checked, failed=number, failing_rows=_failing_rows(query))
        for query, number in zip(here, failed, strict=True)
    ]


def _failing_rows(query: str) -> Any:
    return sa.text(query.replace(":", r"\:")).columns(sa.column("row_no", sa.Integer))
