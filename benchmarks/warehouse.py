"""Measure the whole transform step on PostgreSQL: read staged rows, build events, compress and store chunks."""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from psycopg import sql
from rows import CRM_NAME, SHARD_ROWS, make_shards

from crm_to_meta.ledger.schema import migrate
from crm_to_meta.models import Shard, held_back_table_of, staging_table_of
from crm_to_meta.pipeline.settings import Pipeline
from crm_to_meta.transform.step import transform
from crm_to_meta.warehouse import Connection, execute, table
from crm_to_meta_demo.embedded_postgres import running_postgres

if TYPE_CHECKING:
    import rows

_RUN_KEY: Final = "benchmark"
_COLUMNS: Final = {
    "lead_id": "lead_id", "em": "email", "ph": "phone", "fn": "first_name", "ln": "last_name", "ct": "city",
    "zp": "zip", "country": "country",
}  # fmt: skip


def measure_step(rows_in_all: int) -> tuple[int, float]:
    """Stage rows in an embedded PostgreSQL and transform them; return the number of events, and the seconds."""
    pipeline = Pipeline(name=_RUN_KEY, start_date=date(2026, 1, 1), stages={"new": "Lead"})
    events, seconds = 0, 0.0
    with (
        tempfile.TemporaryDirectory() as folder,
        running_postgres(Path(folder) / "postgres") as postgres,
        postgres.connect() as connection,
    ):
        migrate(connection)
        staging, held_back = table(staging_table_of(_RUN_KEY)), table(held_back_table_of(_RUN_KEY))
        execute(connection, "extract/create_staging", staging=staging)
        execute(connection, "extract/create_held_back", held_back=held_back)
        for shard_no, invented in enumerate(make_shards(rows_in_all)):
            number = len(invented.event_ids)
            first_row = shard_no * SHARD_ROWS + 1
            _stage(connection, staging, invented, first_row)
            shard = Shard(run_key=_RUN_KEY, shard_no=shard_no, first_row=first_row, last_row=first_row + number - 1)
            started = time.perf_counter()
            events += transform(connection, pipeline, shard, crm_name=CRM_NAME).events
            seconds += time.perf_counter() - started
    return events, seconds


def _stage(connection: Connection, staging: sql.Identifier, invented: rows.Shard, first_row: int) -> None:
    """Write rows into the staging table, as `extract` does."""
    names = ("row_no", "event_id", "event_name", "stage", "event_time", *_COLUMNS.values())
    constants = sql.SQL("occurrence, source_digest, has_event_time, opted_out, has_identifier")
    listed = sql.SQL(", ").join(map(sql.Identifier, names))
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("CREATE TEMP TABLE invented ON COMMIT DROP AS SELECT {} FROM {}").format(listed, staging)
        )
        with cursor.copy(sql.SQL("COPY invented ({}) FROM STDIN").format(listed)) as copy:
            for number, row in enumerate(
                zip(
                    invented.event_ids,
                    invented.event_names,
                    invented.event_names,
                    [datetime.fromtimestamp(int(seconds), UTC) for seconds in invented.event_times],
                    *(invented.spelled[field] for field in _COLUMNS),
                    strict=True,
                ),
                start=first_row,
            ):
                copy.write_row((number, *row))
        cursor.execute(
            sql.SQL("INSERT INTO {} ({}, {}) SELECT {}, 1, '', true, false, true FROM invented").format(
                staging, listed, constants, listed
            )
        )
