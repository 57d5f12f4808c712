"""Measure how long validate takes for a million rows, compared with a sequential scan, and how much memory.

Run `make install`, then `PYTHONPATH=include .venv/bin/python benchmarks/validate.py [ROWS]`. An embedded PostgreSQL
in a temporary folder has the rows. Validate runs in a process of its own, whose peak memory is that of an Airflow task
without Airflow. The exit code is 1 if a limit is exceeded.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql

from crm_to_meta.extract.step import extract
from crm_to_meta.models import DagRunFacts, Mode, Window, staging_table_of
from crm_to_meta.pipeline.settings import PIPELINES_FOLDER, Pipeline, load_pipeline
from crm_to_meta_demo.embedded_postgres import EmbeddedPostgres, running_postgres

if TYPE_CHECKING:
    from crm_to_meta.warehouse import Connection

ROWS: Final = 1_000_000
MAX_SECONDS: Final = 20.0
MAX_MEMORY_MB: Final = 500.0
BATCHES: Final = {
    "all good": "(10^15 + number)::bigint::text",
    "all bad": "'1.23457E+15'",
}
_CREATE: Final = """
    CREATE SCHEMA crm;
    CREATE TABLE crm.lead_stage_transitions AS
    SELECT number AS transition_id, {lead_id} AS lead_id,
        (ARRAY['new', 'contacted', 'qualified', 'won'])[1 + number % 4] AS stage,
        {midnight}::timestamptz - interval '1 second' - number * interval '80 milliseconds' AS event_time,
        'lead' || number || '@example.com' AS email, '+1202555' || lpad((number % 10000)::text, 4, '0') AS phone,
        'First' AS first_name, 'Last' AS last_name, 'Springfield' AS city, 'US' AS country
    FROM generate_series(1, {rows}) AS number;
    ANALYZE crm.lead_stage_transitions;
"""


def main() -> int:
    """Print a line for each batch; return 1 if one takes too long or too much memory."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory(prefix="pg-") as folder, running_postgres(Path(folder) / "data") as server:
        is_fine = [_measure(server, name, lead_id, rows) for name, lead_id in BATCHES.items()]
    return 0 if all(is_fine) else 1


def judge(conninfo: str, run_key: str) -> None:
    """Validate a run in this process, and print seconds, peak memory and rows held back as JSON."""
    from crm_to_meta.validate.step import validate

    started = time.monotonic()
    with psycopg.connect(conninfo, autocommit=True) as connection:
        validation = validate(connection, _pipeline(), run_key=run_key)
    figures = {
        "seconds": time.monotonic() - started,
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "held_back": validation.held_back,
    }
    print(json.dumps(figures))


def _measure(server: EmbeddedPostgres, name: str, lead_id: str, rows: int) -> bool:
    database = name.replace(" ", "_")
    server.create_database(database)
    with server.connect(database) as connection:
        run_key = _stage(connection, lead_id, rows)
        scan_s = _time_scan(connection, run_key)
        conninfo = f"{connection.info.dsn} password={connection.info.password}"
        child = subprocess.run(
            [sys.executable, __file__, "--judge", conninfo, run_key], check=True, capture_output=True, text=True
        )
    figures: dict[str, Any] = json.loads(child.stdout)
    print(
        f"{name}: {rows:,} rows judged in {figures['seconds']:.1f} s ({figures['held_back']:,} held back), one "
        f"sequential scan {scan_s:.2f} s; peak memory {figures['memory_mb']:.0f} MB"
    )
    return bool(figures["seconds"] < MAX_SECONDS and figures["memory_mb"] < MAX_MEMORY_MB)


def _stage(connection: Connection, lead_id: str, rows: int) -> str:
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    parts: dict[str, Any] = {"lead_id": sql.SQL(lead_id), "midnight": sql.Literal(end), "rows": sql.Literal(rows)}
    connection.execute(sql.SQL(_CREATE).format(**parts))
    window = Window(start=end - timedelta(days=8), end=end, is_sweep=True)
    facts = DagRunFacts(dag_run_id="benchmark", run_type="scheduled", mode=Mode.LIVE, window=window)
    return extract(connection, _pipeline(), facts).run_key


def _time_scan(connection: Connection, run_key: str) -> float:
    staging = sql.Identifier("capi", staging_table_of(run_key))
    started = time.monotonic()
    connection.execute(sql.SQL("SELECT count(lead_id), max(event_time) FROM {}").format(staging))
    return time.monotonic() - started


def _pipeline() -> Pipeline:
    settings = load_pipeline(PIPELINES_FOLDER / "conversion_leads.yaml").model_dump()
    settings["quality"]["max_quarantined_share"] = 1
    return Pipeline.model_validate(settings)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--judge"]:
        judge(sys.argv[2], sys.argv[3])
    else:
        sys.exit(main())
