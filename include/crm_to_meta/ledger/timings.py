"""How long each step of a run worked: `capi.run.timings`."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from crm_to_meta.warehouse import execute

if TYPE_CHECKING:
    from crm_to_meta.pipeline.settings import Pipeline
    from crm_to_meta.warehouse import Connection


def record_timing(connection: Connection, pipeline: Pipeline, run_key: str, step: str, started: float) -> None:
    """Add the seconds that a step worked to its run's record, and renew the run's lease.

    Args:
        connection: to the warehouse.
        pipeline: gives the lease.
        run_key: the run.
        step: the step's name.
        started: when it began, by `time.monotonic`.
    """
    timing = {"run_key": run_key, "step": step, "seconds": time.monotonic() - started}
    execute(connection, "ledger/record_timing", {**timing, "lease": timedelta(minutes=pipeline.lease_minutes)})
