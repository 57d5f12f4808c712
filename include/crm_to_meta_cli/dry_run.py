"""A run that sends nothing: the steps of a preview, one after the other, without Airflow's scheduler."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from crm_to_meta.audit.step import audit
from crm_to_meta.errors import BatchRefusedError, CrmToMetaError
from crm_to_meta.extract.step import extract
from crm_to_meta.ledger.timings import record_timing
from crm_to_meta.models import DagRunFacts, Mode, Status
from crm_to_meta.pipeline.window import resolve_manual_window
from crm_to_meta.transform.step import transform
from crm_to_meta.validate.step import validate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date

    from crm_to_meta.models import Window
    from crm_to_meta.pipeline.settings import Pipeline
    from crm_to_meta.warehouse import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What a run would come to: the rows it takes, what becomes of them, and why they are refused as a batch, if so."""

    run_key: str
    staged: int
    counts: Mapping[Status, int]
    refusal: str | None


def find_window(pipeline: Pipeline, day: date | None) -> Window:
    """Return the window of a day, or the one that a run now would look back over.

    Raises:
        ConfigurationError: the day has not ended yet.
    """
    return resolve_manual_window(pipeline, picked_day=day.isoformat() if day else None, now=datetime.now(UTC))


def dry_run(
    connection: Connection,
    pipeline: Pipeline,
    window: Window,
    *,
    command: str,
    crm_name: str,
    partner_agent: str = "",
) -> DryRun:
    """Extract, validate, transform and audit in preview mode; the built events stay in `capi.chunk`.

    However it ends, the run is closed, and its copy of raw rows is gone.

    Args:
        connection: to the warehouse, in autocommit mode.
        pipeline: whose run it is.
        window: what the run is about.
        command: the command that asks, for the run's record.
        crm_name: what Meta shows as the source of the events.
        partner_agent: the name that was agreed on with Meta, where there is one.

    Raises:
        ConfigurationError: the source is not as the pipeline file says.
        WarehouseError: a statement failed.
    """
    run_id = f"{command}__{datetime.now(UTC).isoformat()}"
    facts = DagRunFacts(dag_run_id=run_id, run_type="manual", mode=Mode.PREVIEW, window=window)
    extraction = extract(connection, pipeline, facts)
    run_key, refusal = extraction.run_key, None
    try:
        with _timed(connection, pipeline, run_key, "validate"):
            shards = validate(connection, pipeline, run_key=run_key).shards
        for shard in shards:
            with _timed(connection, pipeline, run_key, "transform"):
                transform(connection, pipeline, shard, crm_name=crm_name, partner_agent=partner_agent)
    except BatchRefusedError as error:
        refusal = str(error)
    except BaseException:
        with suppress(CrmToMetaError):  # the first error is the one to tell
            audit(connection, pipeline, run_key=run_key)
        raise
    counts = audit(connection, pipeline, run_key=run_key).counts
    return DryRun(run_key=run_key, staged=extraction.staged, counts=counts, refusal=refusal)


@contextmanager
def _timed(connection: Connection, pipeline: Pipeline, run_key: str, step: str) -> Iterator[None]:
    """Record how long a step worked, and that the run is alive."""
    started = time.monotonic()
    yield
    record_timing(connection, pipeline, run_key, step, started)
