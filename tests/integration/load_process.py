"""`load` of a shard in a process of its own, which can be killed at any moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daily_run import CRM_NAME, Company

if TYPE_CHECKING:
    from collections.abc import Callable

    from crm_to_meta.models import Shard

INCLUDE = Path(__file__).parents[2] / "include"
DEADLINE_S = 120

# What a worker does, in a process of its own that can be killed.
WORKER = """
import json, sys
from datetime import datetime
import psycopg
from crm_to_meta.load.step import load
from crm_to_meta.meta.client import MetaClient, MetaSettings
from crm_to_meta.models import Mode, Shard
from crm_to_meta.pipeline.settings import Pipeline

given = json.load(sys.stdin)
with psycopg.connect(given["database"], autocommit=True) as connection, MetaClient(
    MetaSettings(**given["meta"]), timeout_s=60
) as client:
    load(
        connection, Pipeline.model_validate(given["pipeline"]), Shard(**given["shard"]), client, mode=Mode.LIVE,
        sleep=lambda _: None, now=lambda: datetime.fromisoformat(given["now"]),
    )
"""


def start_worker(company: Company, shard: Shard) -> subprocess.Popen[str]:
    """Start `load` of a shard as a process."""
    info = company.warehouse.info
    given = {
        "database": f"host={info.host} user={info.user} dbname={info.dbname}",
        "meta": {
            "dataset_id": company.stand_in.dataset_id,
            "crm_name": CRM_NAME,
            "token": company.token,
            "base_url": company.stand_in.base_url,
        },
        "pipeline": company.pipeline.model_dump(mode="json"),
        "shard": {"run_key": shard.run_key, "shard_no": shard.shard_no, "first_row": shard.first_row,
                  "last_row": shard.last_row},
        "now": company.now.isoformat(),
    }  # fmt: skip
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER],
        stdin=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(INCLUDE)},
    )
    assert worker.stdin is not None
    with worker.stdin as stdin:
        json.dump(given, stdin)
    return worker


def kill(worker: subprocess.Popen[str]) -> None:
    """Kill -9."""
    worker.send_signal(signal.SIGKILL)
    assert worker.wait() == -signal.SIGKILL


def no_answer_from(request: int) -> dict[str, Any]:
    """Return the fault that keeps a worker from being done before it is killed: from a request on it waits."""
    return {"kind": "slow", "seconds": 60, "when": {"from_request": request}}


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
