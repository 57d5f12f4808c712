"""Measure how many events per second load sends, by the number of concurrent requests, to a stand-in with latency.

    PYTHONPATH=include .venv/bin/python benchmarks/delivery.py --latency-ms 300 --concurrency 1 2 4 8

PostgreSQL and the stand-in for Meta are processes of their own on this computer. Each line is one load of one shard
with chunks of 1,000 events, from the first statement to the last. `share` compares with the rate that the latency alone
would allow, concurrency * 1,000 / latency: 1.00 would mean that reading, recording and the ledger take no time.
"""

from __future__ import annotations

import argparse
import sys
import time
import uuid
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from crm_to_meta.ledger.schema import migrate
from crm_to_meta.load.step import load
from crm_to_meta.meta.body import build_body, write_json
from crm_to_meta.meta.client import MetaClient, MetaSettings
from crm_to_meta.models import Mode, Shard
from crm_to_meta.pipeline.settings import Pipeline
from crm_to_meta_demo.embedded_postgres import running_postgres
from crm_to_meta_demo.meta_stand_in.process import running_stand_in_process

if TYPE_CHECKING:
    from crm_to_meta.warehouse import Connection
    from crm_to_meta_demo.meta_stand_in.testing import StandIn

CHUNK_EVENTS: Final = 1_000
NAME: Final = "benchmark"


def main() -> int:
    """Measure and print each concurrency; return 1 if one is below the least share."""
    options = _parse_arguments()
    with TemporaryDirectory(prefix="bench-") as folder, running_postgres(Path(folder) / "postgres") as postgres:
        postgres.create_database(NAME)
        with postgres.connect(NAME) as connection, running_stand_in_process(Path(folder) / "stand_in") as stand_in:
            migrate(connection)
            stand_in.set_settings(latency_ms=options.latency_ms, only_counts=True)
            print(f"{options.latency_ms} ms for each answer\nconcurrency    events   seconds  events/s  share")
            shares = [_measure(connection, stand_in, number, options) for number in options.concurrency]
    return 0 if min(shares) >= options.least_share else 1


def _measure(connection: Connection, stand_in: StandIn, concurrency: int, options: argparse.Namespace) -> float:
    chunks = max(concurrency * options.waves, 1)
    shard = Shard(run_key=str(uuid.uuid4()), shard_no=0, first_row=1, last_row=chunks * CHUNK_EVENTS)
    _store_run(connection, shard, chunks)
    pipeline = Pipeline.model_validate({
        "name": NAME, "start_date": "2026-01-01", "stages": {"new": "Lead"}, "delivery": {"concurrency": concurrency},
    })  # fmt: skip
    settings = MetaSettings(
        dataset_id=stand_in.dataset_id, crm_name="Benchmark", token=stand_in.token, base_url=stand_in.base_url
    )
    with MetaClient(settings, timeout_s=60) as client:
        started = time.monotonic()
        result = load(connection, pipeline, shard, client, mode=Mode.LIVE)
        seconds = time.monotonic() - started
    events = result.events["delivered"]
    if events != chunks * CHUNK_EVENTS:
        raise SystemExit(f"{events} of {chunks * CHUNK_EVENTS} events were delivered")
    rate = events / seconds
    share = rate / (concurrency * CHUNK_EVENTS / (options.latency_ms / 1000))
    print(f"{concurrency:>11}{events:>10,}{seconds:>10.1f}{rate:>10,.0f}{share:>7.2f}", flush=True)
    stand_in.reset()
    stand_in.set_settings(latency_ms=options.latency_ms, only_counts=True)
    return share


def _store_run(connection: Connection, shard: Shard, chunks: int) -> None:
    """Store a run with its ledger and its chunks, as extract and transform would leave them."""
    now = datetime.now(UTC)
    connection.execute(
        "INSERT INTO capi.run (run_key, pipeline, mode, dag_run_id, run_type, pass_no, window_start, window_end, "
        "is_sweep, configuration_digest, lease_until) VALUES (%s, %s, 'live', %s, 'manual', 1, %s, %s, true, '', %s)",
        [shard.run_key, NAME, shard.run_key, now - timedelta(days=1), now, now + timedelta(hours=1)],
    )
    for chunk_no in range(chunks):
        event_ids = [uuid.uuid4() for _ in range(CHUNK_EVENTS)]
        events = [_event(event_id, number, now) for number, event_id in enumerate(event_ids)]
        _store_chunk(connection, shard, chunk_no, event_ids, build_body([write_json(event) for event in events]), now)
    connection.execute("ANALYZE capi.delivery")


def _store_chunk(
    connection: Connection, shard: Shard, chunk_no: int, event_ids: list[uuid.UUID], body: bytes, now: datetime
) -> None:
    connection.execute(
        "INSERT INTO capi.delivery (event_id, pipeline, transition_id, lead_id, stage, event_name, event_time, status, "
        "run_key) SELECT id, %(name)s, id::text, 10^15::bigint + place, 'new', 'Lead', %(time)s, 'pending', %(run)s "
        "FROM unnest(%(ids)s::uuid[]) WITH ORDINALITY AS u (id, place)",
        {"name": NAME, "ids": event_ids, "run": shard.run_key, "time": now - timedelta(hours=1)},
    )
    connection.execute(
        "INSERT INTO capi.chunk (run_key, chunk_no, shard_no, events, event_ids, stages, body, body_sha256) "
        "VALUES (%s, %s, %s, %s, %s, '{}', %s, '')",
        [shard.run_key, chunk_no, shard.shard_no, len(event_ids), event_ids, zlib.compress(body)],
    )


def _event(event_id: uuid.UUID, number: int, now: datetime) -> dict[str, Any]:
    """Return a typical event, with lead id, hashed email and phone, and a name."""
    digest = f"{number:064x}"
    return {
        "event_name": "Lead",
        "event_time": int((now - timedelta(hours=1)).timestamp()),
        "event_id": str(event_id),
        "action_source": "system_generated",
        "custom_data": {"event_source": "crm", "lead_event_source": "Benchmark"},
        "user_data": {"lead_id": 10**15 + number, "em": [digest], "ph": [digest], "fn": [digest], "ln": [digest]},
    }


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="How fast load sends, by number of requests at a time.")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--latency-ms", type=int, default=300, help="how long the stand-in takes for an answer")
    parser.add_argument("--waves", type=int, default=20, help="chunks for each concurrent request")
    parser.add_argument("--least-share", type=float, default=0.9, help="below this share the exit code is 1")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
