"""Run Great Expectations once for each contract, and repeat its queries in later rounds to save its start-up.

The first time that a contract is checked, GX checks the rows, and the queries for the failing rows are stored in a
folder. Later the stored queries check other staging tables without GX, in a small part of the time. The product
processes the results in the same way in both cases.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import psycopg
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.dialects import postgresql

from crm_to_meta.warehouse import run_query

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from crm_to_meta.validate.gx_pushdown import Answers, Outcome, Question

_DIALECT: Final = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
_TABLE: Final = "the_staging_table"  # replaces the table's name in a stored query


def remembering(check_table: Callable[..., Answers], folder: Path, database: str) -> Callable[..., Answers]:
    """Return a `check_table` that runs Great Expectations only for contracts that are not in the folder.

    Rules about the batch keep their first result, since rounds switch them off.
    """

    def check(url: str, *, schema: str, table: str, questions: Sequence[Question], run_name: str = "") -> Answers:
        memory = folder / f"{_digest(questions)}.pickle"
        if memory.exists():
            return _ask(database, pickle.loads(memory.read_bytes()), schema=schema, table=table)  # noqa: S301 - our own
        answers = check_table(url, schema=schema, table=table, questions=questions, run_name=run_name)
        _store(memory, answers, table)
        return answers

    return check


def _digest(questions: Sequence[Question]) -> str:
    contract = [
        question.expectation.configuration.to_json_dict() if question.lists_rows else question.name
        for question in questions
    ]
    return hashlib.sha256(json.dumps(contract).encode()).hexdigest()


def _store(memory: Path, answers: Answers, table: str) -> None:
    outcomes = [replace(outcome, failing_rows=_as_text(outcome, table)) for outcome in answers.outcomes]
    draft = memory.with_suffix(f".{os.getpid()}")
    draft.write_bytes(pickle.dumps(replace(answers, outcomes=outcomes)))
    draft.replace(memory)  # atomic, since workers may do this at the same time and may be killed


def _as_text(outcome: Outcome, table: str) -> Any:
    if outcome.failing_rows is None:
        return None
    query = str(outcome.failing_rows.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True}))
    return query.replace(table, _TABLE)


def _ask(database: str, answers: Answers, *, schema: str, table: str) -> Answers:
    queries: list[Any] = [outcome.failing_rows for outcome in answers.outcomes]
    here = [query.replace(_TABLE, table) if query else None for query in queries]
    counts = [f"(SELECT count(*) FROM ({query}) AS failing)" if query else "0" for query in here]
    question = f'SELECT (SELECT count(*) FROM {schema}."{table}"), ARRAY[{", ".join(counts)}]'
    with psycopg.connect(database, autocommit=True) as connection:
        cursor = run_query(connection, sql.SQL(question), name="gx_memory")  # type: ignore[arg-type]
        checked, failed = cursor.fetchall()[0]
    outcomes = [
        replace(outcome, success=not number, checked=checked, failed=number, failing_rows=_failing_rows(query))
        if query
        else outcome
        for outcome, query, number in zip(answers.outcomes, here, failed, strict=True)
    ]
    return replace(answers, outcomes=outcomes)


def _failing_rows(query: str) -> Any:
    return sa.text(query.replace(":", r"\:")).columns(sa.column("row_no", sa.Integer))
