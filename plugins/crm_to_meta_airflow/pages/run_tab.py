"""Builds the tab of a DAG run: its passes with payloads and reports, or why there is nothing to show."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from crm_to_meta.errors import ConfigurationError
from crm_to_meta.ledger.doubts import list_decisions, list_doubts
from crm_to_meta.models import Mode
from crm_to_meta.report.open_doubts import describe_doubt
from crm_to_meta.report.pages import PipelineCard, render_message, render_run
from crm_to_meta.report.passes import list_passes
from crm_to_meta.report.payload import read_payload
from crm_to_meta_airflow.connections import meta_settings
from crm_to_meta_airflow.pages.access import may_decide
from crm_to_meta_airflow.pages.airflow_facts import read_run_state
from crm_to_meta_airflow.pages.cards import open_to_read

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser

    from crm_to_meta.pipeline.settings import Pipeline
    from crm_to_meta_airflow.pages.pipelines import KnownPipeline


def render_run_tab(
    known: KnownPipeline, user: BaseUser, *, run_id: str, chunk_no: int | None, root: str, notice: str
) -> str:
    """Return the tab of a DAG run of a pipeline whose file is good.

    Raises:
        CrmToMetaError: the warehouse cannot be read.
    """
    pipeline = known.pipeline
    if pipeline is None:
        raise ConfigurationError(known.trouble or f"{known.name}: the pipeline file cannot be used.")
    now = datetime.now(UTC)
    with open_to_read(pipeline.connections.warehouse) as connection:
        passes = list_passes(connection, pipeline=pipeline.name, dag_run_id=run_id)
        if not passes:
            return render_message(*_explain_absence(pipeline, run_id), root=root)
        previews = [one for one in passes if one.mode is Mode.PREVIEW]
        events_url = _find_events_url(pipeline) if previews else None
        payloads = {
            one.run_key: read_payload(connection, one.run_key, events_url=events_url, chunk_no=chunk_no)
            for one in previews
        }
        keys = {one.run_key for one in passes}
        doubts = [one for one in list_doubts(connection, pipeline=pipeline.name) or [] if one.run_key in keys]
        decisions = list_decisions(connection, pipeline=pipeline.name, dag_run_id=run_id)
    return render_run(
        PipelineCard(name=known.name, dag_id=known.dag_id, may_decide=may_decide(user, known.dag_id)),
        [replace(one, payload=payloads.get(one.run_key)) for one in passes],
        dag_run_id=run_id,
        doubts=[describe_doubt(pipeline, one, now=now) for one in doubts],
        decisions=decisions,
        root=root,
        notice=notice,
    )


def _find_events_url(pipeline: Pipeline) -> str | None:
    """Return where events would go; None where the connection to Meta is not set up, which a preview need not have."""
    try:
        return meta_settings(pipeline.connections.meta, needs_token=False).events_url
    except ConfigurationError:
        return None


def _explain_absence(pipeline: Pipeline, run_id: str) -> tuple[str, str]:
    """Return why a DAG run has nothing on record, in a title and a text."""
    match read_run_state(pipeline.dag_id, run_id):
        case None:
            return "Airflow has no such run", "It was deleted, or the address is wrong."
        case "failed":
            return (
                "This run failed before it had recorded anything",
                "Nothing was sent. The log of its task `extract` says why and what to do. Then clear the run.",
            )
        case "success":
            text = (
                f"Runs are kept for {pipeline.ledger_days:,} days (`ledger_days`), and this one may be older, or it "
                f"worked in another warehouse than today's, Airflow connection `{pipeline.connections.warehouse}`."
            )
            return "Nothing is on record for this run", text
        case _:
            return (
                "This run has not recorded anything yet",
                "Its task `extract` does that first. Open this tab again in a moment.",
            )
