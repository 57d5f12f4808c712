"""Extract: stage the rows of a window that are still to be sent. They never leave the warehouse.

One transaction, and one run of a pipeline at a time: runs that died are given up, the rows are staged, and the ledger
says that this run has claimed them. Test and preview runs stage the same rows and leave the ledger alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from crm_to_meta.extract.source import in_window_condition, moment_of, quoted, read_source_columns, source_identifiers
from crm_to_meta.ledger.abandoned_runs import abandon_dead_runs
from crm_to_meta.ledger.schema import migrate
from crm_to_meta.meta.lead_id import LEAD_ID_PATTERN
from crm_to_meta.meta.limits import META_DEDUPLICATION_WINDOW
from crm_to_meta.models import DagRunFacts, Mode, held_back_table_of, run_key_of, staging_table_of
from crm_to_meta.warehouse import Connection, execute, one_row, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crm_to_meta.models import Window
    from crm_to_meta.pipeline.settings import Pipeline

_NEWEST_ROWS: Final = (  # for test runs: the newest rows that are not in the future
    "ORDER BY CASE WHEN event_time <= %(now)s THEN event_time END DESC NULLS LAST, event_id LIMIT %(test_events)s"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """The result of extract: the run's key and counts.

    `held` counts transitions of the window that other runs have claimed.
    """

    run_key: str
    staged: int
    expired: int
    held: int


def extract(
    connection: Connection, pipeline: Pipeline, facts: DagRunFacts, *, now: datetime | None = None
) -> Extraction:
    """Stage the run's work set and claim it in the ledger.

    Args:
        connection: to the warehouse; committed on success.
        pipeline: says where the rows are and how to read them.
        facts: the DAG run's id, mode and window.
        now: the moment that ages are measured against.

    Raises:
        SourceError: the source table or a column is not there, or has another type than declared.
        ConfigurationError: the schema `capi` cannot be created.
        WarehouseError: a statement failed.
    """
    now = now or datetime.now(UTC)
    migrate(connection)
    columns = read_source_columns(connection, pipeline)
    with connection.transaction():
        execute(connection, "extract/set_session")
        execute(connection, "ledger/lock_pipeline", {"pipeline": pipeline.name})
        run_key = _open_pass(connection, pipeline, facts)
        staged = _stage_rows(connection, pipeline, facts, columns, run_key=run_key, now=now)
        expired = held = 0
        if facts.mode is Mode.LIVE:
            staging = table(staging_table_of(run_key))
            execute(connection, "extract/count_taken_over", staging=staging)
            claim = {"pipeline": pipeline.name, "run_key": run_key, "lead_id_pattern": f"^{LEAD_ID_PATTERN}$"}
            execute(connection, "extract/claim_rows", claim, staging=staging)
            scope = {"pipeline": pipeline.name, "run_key": run_key, **_window_parameters(facts)}
            oldest = {"oldest_event_time": now - pipeline.delivery.max_event_age}
            execute(connection, "extract/settle_unreachable", scope)
            expired = execute(connection, "extract/expire_pending", {**scope, **oldest}).rowcount
            held = one_row(execute(connection, "extract/count_held", scope))[0]
        counts = {"run_key": run_key, "staged": staged, "extracted": staged + expired, "held": held}
        execute(connection, "extract/record_count", {**counts, "lease": timedelta(minutes=pipeline.lease_minutes)})
        execute(connection, "extract/analyze_staging", staging=table(staging_table_of(run_key)))
        execute(connection, "extract/analyze_ledger")
    return Extraction(run_key=run_key, staged=staged, expired=expired, held=held)


def count_window(connection: Connection, pipeline: Pipeline, window: Window) -> int:
    """Return how many rows of the source lie in a window, finished ones included.

    Raises:
        SourceError: the source table or a column is not there, or has another type than declared.
        WarehouseError: the statement failed.
    """
    columns = read_source_columns(connection, pipeline)
    event_time = quoted(columns["event_time"])
    in_window = in_window_condition(pipeline, event_time, moment_of(pipeline, event_time))
    source = quoted(*pipeline.source.schema_and_name)
    parameters = {"window_start": window.start, "window_end": window.end}
    return int(one_row(execute(connection, "extract/count_window", parameters, source=source, in_window=in_window))[0])


def _open_pass(connection: Connection, pipeline: Pipeline, facts: DagRunFacts) -> str:
    identity = {"pipeline": pipeline.name, "dag_run_id": facts.dag_run_id}
    abandon_dead_runs(connection, **identity)
    pass_no = one_row(execute(connection, "extract/next_pass", identity))[0]
    run_key = run_key_of(pipeline=pipeline.name, zone=pipeline.zone, facts=facts, pass_no=pass_no)
    settings = {
        "run_key": run_key,
        "mode": facts.mode,
        "run_type": facts.run_type,
        "pass_no": pass_no,
        "configuration_digest": pipeline.digest,
        "lease": timedelta(minutes=pipeline.lease_minutes),
    }
    execute(connection, "extract/insert_run", {**identity, **settings, **_window_parameters(facts)})
    return run_key


def _stage_rows(
    connection: Connection,
    pipeline: Pipeline,
    facts: DagRunFacts,
    columns: Mapping[str, str],
    *,
    run_key: str,
    now: datetime,
) -> int:
    staging = table(staging_table_of(run_key))
    execute(connection, "extract/create_staging", staging=staging)
    execute(connection, "extract/create_held_back", held_back=table(held_back_table_of(run_key)))
    parameters = {
        **_window_parameters(facts),
        "pipeline": pipeline.name,
        "configuration_digest": pipeline.digest,
        "now": now,
        "latest_event_time": now + timedelta(seconds=pipeline.quality.future_tolerance_seconds),
        "resend_in_doubt": pipeline.delivery.on_in_doubt == "resend",
        "deduplication_window": META_DEDUPLICATION_WINDOW,
        "crm_stages": list(pipeline.stages),
        "event_names": list(pipeline.stages.values()),
        "test_events": pipeline.delivery.test_events,
    }
    choice = sql.SQL(_NEWEST_ROWS if facts.mode is Mode.TEST else "")
    identifiers = {"staging": staging, "choice": choice, **source_identifiers(pipeline, columns)}
    return execute(connection, "extract/stage_rows", parameters, **identifiers).rowcount


def _window_parameters(facts: DagRunFacts) -> dict[str, Any]:
    window = facts.window
    return {"window_start": window.start, "window_end": window.end, "is_sweep": window.is_sweep}
