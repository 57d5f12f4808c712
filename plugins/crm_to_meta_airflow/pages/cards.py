"""Builds the cards of the overview. A warehouse that cannot be read costs its own pipelines' cards, and no others."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from crm_to_meta.errors import CrmToMetaError
from crm_to_meta.report.overview import read_overview
from crm_to_meta.report.pages import PipelineCard
from crm_to_meta.warehouse import execute
from crm_to_meta_airflow.connections import open_warehouse
from crm_to_meta_airflow.pages.access import may_decide
from crm_to_meta_airflow.pages.airflow_facts import read_schedules

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser

    from crm_to_meta.pipeline.settings import Pipeline
    from crm_to_meta.report.overview import Overview
    from crm_to_meta.warehouse import Connection
    from crm_to_meta_airflow.pages.pipelines import KnownPipeline

log = logging.getLogger("crm_to_meta")

CONNECT_TIMEOUT_S: Final = 5  # somebody is waiting for the page
STATEMENT_TIMEOUT: Final = "15s"
MAX_WAREHOUSES_AT_ONCE: Final = 4


@contextmanager
def open_to_read(connection_id: str) -> Iterator[Connection]:
    """Open a warehouse for a page: to read, and with a limit on how long that takes.

    Raises:
        CrmToMetaError: it cannot be opened, or a statement failed.
    """
    with open_warehouse(connection_id, connect_timeout_s=CONNECT_TIMEOUT_S) as connection:
        execute(connection, "report/overview_limit_session", {"statement_timeout": STATEMENT_TIMEOUT})
        yield connection


def build_cards(known: Sequence[KnownPipeline], user: BaseUser) -> list[PipelineCard]:
    """Return the cards of pipelines whose runs the user may see."""
    schedules = read_schedules([one.dag_id for one in known])
    findings = _read_warehouses([one.pipeline for one in known if one.pipeline])
    cards = []
    for one in known:
        finding = one.trouble or findings.get(one.name)
        cards.append(
            PipelineCard(
                name=one.name,
                dag_id=one.dag_id,
                description=one.pipeline.description if one.pipeline else "",
                overview=None if isinstance(finding, str) else finding,
                schedule=schedules.get(one.dag_id),
                trouble=finding if isinstance(finding, str) else None,
                may_decide=may_decide(user, one.dag_id),
            )
        )
    return cards


def _read_warehouses(pipelines: Sequence[Pipeline]) -> dict[str, Overview | str | None]:
    """Read all warehouses side by side, so that one that does not answer costs its timeout once."""
    by_connection: dict[str, list[Pipeline]] = {}
    for pipeline in pipelines:
        by_connection.setdefault(pipeline.connections.warehouse, []).append(pipeline)
    found: dict[str, Overview | str | None] = {}
    with ThreadPoolExecutor(MAX_WAREHOUSES_AT_ONCE) as threads:
        for part in threads.map(_read_warehouse, by_connection, by_connection.values()):
            found |= part
    return found


def _read_warehouse(connection_id: str, pipelines: Sequence[Pipeline]) -> dict[str, Overview | str | None]:
    """Return for each pipeline its overview, or why there is none."""
    try:
        with open_to_read(connection_id) as connection:
            return {pipeline.name: _read_pipeline(connection, pipeline) for pipeline in pipelines}
    except CrmToMetaError as error:
        return {pipeline.name: str(error) for pipeline in pipelines}
    except Exception as error:  # a page with the other pipelines is worth more than none
        log.exception("The warehouse of connection %s cannot be read", connection_id)
        text = f"The warehouse of Airflow connection `{connection_id}` cannot be read: {type(error).__name__}."
        return {pipeline.name: f"{text} The log of the api-server says more." for pipeline in pipelines}


def _read_pipeline(connection: Connection, pipeline: Pipeline) -> Overview | str | None:
    try:
        return read_overview(connection, pipeline, now=datetime.now(UTC))
    except CrmToMetaError as error:
        return str(error)
