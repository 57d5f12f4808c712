"""The five steps as Airflow runs them: open what a step needs, time it, log one line of counts and ids.

The DAG files import this module whenever they are parsed, so what a step needs is imported where it runs.
"""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from crm_to_meta.errors import (
    BatchRefusedError,
    CrmToMetaError,
    DeliveryIncompleteError,
    RetryableError,
    RunsAtWorkError,
)
from crm_to_meta.models import Mode, Shard
from crm_to_meta.reasons import explain_reason
from crm_to_meta_airflow.alerts import tell_quality
from crm_to_meta_airflow.assets import dataset_asset
from crm_to_meta_airflow.context import read_facts, read_mode, read_test_event_code, read_try_number, show_label
from crm_to_meta_airflow.outcome import count_metrics, hand_over_figures, tell_asset
from crm_to_meta_airflow.short_lines import told_in_short_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crm_to_meta.pipeline.settings import Pipeline
    from crm_to_meta.warehouse import Connection

log = logging.getLogger("crm_to_meta")


@told_in_short_lines()
def run_extract(pipeline: Pipeline) -> str:
    """Stage the run's rows; return the run key."""
    from crm_to_meta.extract.step import extract
    from crm_to_meta.ledger.timings import record_timing
    from crm_to_meta_airflow.connections import meta_settings, open_warehouse

    facts = read_facts(pipeline)
    meta_settings(pipeline.connections.meta, needs_token=facts.mode is not Mode.PREVIEW)  # fail before work, not after
    started = time.monotonic()
    with open_warehouse(pipeline.connections.warehouse) as connection:
        extraction = extract(connection, pipeline, facts)
        record_timing(connection, pipeline, extraction.run_key, "extract", started)
    log.info(
        "extract %s: mode %s, window %s to %s, %d rows staged, %d expired in the ledger, %d held by other runs",
        extraction.run_key,
        facts.mode,
        facts.window.start.isoformat(),
        facts.window.end.isoformat(),
        extraction.staged,
        extraction.expired,
        extraction.held,
    )
    return extraction.run_key


@told_in_short_lines()
def run_validate(pipeline: Pipeline, run_key: str) -> list[dict[str, Any]]:
    """Judge the staged rows; return the shards of those that go on, an empty one where none does.

    A task that is mapped over nothing would be skipped, and what comes after it cannot tell that from a failed run.
    """
    from crm_to_meta.validate.step import validate

    try:
        with _step(pipeline, run_key, "validate") as connection:
            validation = validate(connection, pipeline, run_key=run_key)
    except BatchRefusedError as error:
        tell_quality(pipeline, read_mode(), str(error))
        raise
    log.info("validate %s: %d rows accepted, %d held back", run_key, validation.accepted, validation.held_back)
    if validation.warnings:
        tell_quality(pipeline, read_mode(), " ".join(explain_reason(code).meaning for code in validation.warnings))
        log.warning("validate %s: see the run's report about %s", run_key, ", ".join(validation.warnings))
    return [asdict(shard) for shard in validation.shards] or [asdict(Shard.without_rows(run_key))]


@told_in_short_lines()
def run_transform(pipeline: Pipeline, shard: Shard) -> None:
    """Build and store the chunks of a shard."""
    from crm_to_meta.transform.step import transform
    from crm_to_meta_airflow.connections import meta_settings

    show_label(shard.label)
    if shard.is_empty:
        log.info("transform %s: no row goes on", shard.run_key)
        return
    settings = meta_settings(pipeline.connections.meta, needs_token=False)
    with _step(pipeline, shard.run_key, "transform") as connection:
        done = transform(
            connection,
            pipeline,
            shard,
            crm_name=settings.crm_name,
            test_event_code=read_test_event_code(),
            partner_agent=settings.partner_agent,
        )
    log.info(
        "transform %s: %s, %d events in %d chunks, %d rows without a usable identifier",
        shard.run_key,
        shard.label,
        done.events,
        done.chunks,
        done.held_back,
    )


@told_in_short_lines()
def run_load(pipeline: Pipeline, shard: Shard) -> None:
    """Send the chunks of a shard; a preview shows a few of their events instead."""
    from crm_to_meta.load.step import load
    from crm_to_meta.meta.client import MetaClient
    from crm_to_meta.report.preview import describe_preview
    from crm_to_meta_airflow.connections import meta_settings, open_warehouse

    show_label(shard.label)
    if shard.is_empty:
        log.info("load %s: nothing to send", shard.run_key)
        return
    mode = read_mode()
    if mode is Mode.PREVIEW:
        url = meta_settings(pipeline.connections.meta, needs_token=False).events_url
        with open_warehouse(pipeline.connections.warehouse) as connection:
            text = describe_preview(connection, shard.run_key, events_url=url, shard_no=shard.shard_no)
        log.info("load %s: %s, preview: nothing is sent\n%s", shard.run_key, shard.label, text)
        return
    if mode is Mode.TEST:
        log.warning(
            "load %s: a test run. Events with a test code do reach the dataset: Meta may use them for measurement and "
            "targeting. Leave the mode at live or preview for every day.",
            shard.run_key,
        )
    settings = meta_settings(pipeline.connections.meta, needs_token=True)
    with (
        _step(pipeline, shard.run_key, "load") as connection,
        MetaClient(settings, timeout_s=pipeline.delivery.timeout_seconds) as client,
    ):
        result = load(connection, pipeline, shard, client, mode=mode, clears_stop=read_try_number() > 1)
    counts = ", ".join(f"{number} {status}" for status, number in sorted(result.events.items())) or "nothing left"
    log.info("load %s: %s, %d requests, %s", shard.run_key, shard.label, result.requests, counts)


@told_in_short_lines()
def run_audit(pipeline: Pipeline, run_key: str | None) -> None:
    """Close the run, then clear away what is too old; raises what audit raises, and what retention raises never."""
    from crm_to_meta.audit.elsewhere import describe_elsewhere
    from crm_to_meta.audit.step import audit

    if run_key is None:  # somebody marked `extract` as a success
        raise DeliveryIncompleteError("Nothing was sent: the task `extract` has picked no rows; clear it.")
    with _step(pipeline, run_key, "audit") as connection:
        try:
            result = audit(connection, pipeline, run_key=run_key)
        except RetryableError:
            raise
        except CrmToMetaError:
            _tell_airflow(connection, pipeline, run_key)
            raise
        finally:
            _clear_old_records(connection, pipeline, run_key)
        _tell_airflow(connection, pipeline, run_key)
    counts = ", ".join(f"{number} {status}" for status, number in result.counts.items() if number)
    log.info("audit %s: %d rows extracted: %s", run_key, result.extracted, counts or "none")
    for sentence in describe_elsewhere(result.elsewhere):
        log.warning("audit %s: %s", run_key, sentence)


def _tell_airflow(connection: Connection, pipeline: Pipeline, run_key: str) -> None:
    """Give Airflow the run's figures, for its lists, asset events and metrics; a failure is only told."""
    from crm_to_meta.audit.figures import read_figures

    try:
        figures = read_figures(connection, run_key)
    except CrmToMetaError as error:
        log.warning("audit %s: Airflow's lists are without its figures: %s", run_key, error)
        return
    hand_over_figures(figures)
    tell_asset(dataset_asset(pipeline), figures)
    count_metrics(pipeline, figures)


def _clear_old_records(connection: Connection, pipeline: Pipeline, run_key: str) -> None:
    """Clear away what the pipeline keeps no longer; a failure is only told: the next audit tries again."""
    from psycopg import Error

    from crm_to_meta.ledger.retention import clear_old_records

    try:
        cleared = clear_old_records(connection, pipeline, now=datetime.now(UTC))
    except (CrmToMetaError, Error) as error:
        why = error if isinstance(error, CrmToMetaError) else type(error).__name__  # the driver's text may have values
        log.warning("audit %s: what is too old could not be cleared away; the next run tries again: %s", run_key, why)
        return
    if cleared.bodies or cleared.runs:
        log.info("audit %s: too old to keep: %d request bodies, %d runs", run_key, cleared.bodies, cleared.runs)


@told_in_short_lines()
def run_erase(connection_id: str) -> None:
    """Carry out the erasures that a warehouse is asked for; fails while runs are at work, to be tried again."""
    from crm_to_meta.ledger.erasure import erase_requested
    from crm_to_meta_airflow.connections import open_warehouse

    with open_warehouse(connection_id) as connection:
        erasures = erase_requested(connection)
    if erasures.waits_for:
        raise RunsAtWorkError(
            f"{erasures.waiting} erasures wait: {', '.join(erasures.waits_for)} is at work and may have the person in "
            "memory. This task tries again by itself."
        )
    for done in erasures.done:
        log.info("erase %d: %d transitions, %d request bodies", done.erasure_id, done.transitions, done.bodies)
    log.info("erase: %d requests carried out in the warehouse of connection %s", len(erasures.done), connection_id)


@contextmanager
def _step(pipeline: Pipeline, run_key: str, step: str) -> Iterator[Connection]:
    """Open the warehouse for a step, and record how long it worked, even if it fails."""
    from crm_to_meta.ledger.timings import record_timing
    from crm_to_meta_airflow.connections import open_warehouse

    started = time.monotonic()
    with open_warehouse(pipeline.connections.warehouse) as connection:
        try:
            yield connection
        except BaseException:
            try:
                record_timing(connection, pipeline, run_key, step, started)
            except CrmToMetaError as error:  # what the step itself failed of is the error to tell, and to act on
                log.debug("%s %s: its time is not on record: %s", step, run_key, error)
            raise
        record_timing(connection, pipeline, run_key, step, started)
