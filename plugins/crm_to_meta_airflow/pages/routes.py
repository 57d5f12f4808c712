"""The pages to read: overview, a DAG's tab, a run's tab, the report of a pass with its rows, and the card's figures."""

# FastAPI reads annotations when the app is built: what they name is imported for real.
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any
from urllib.parse import quote

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, StreamingResponse

from crm_to_meta.report import render_report, write_reason_csv
from crm_to_meta.report.pages import render_message, render_overview
from crm_to_meta.report.passes import find_dag_run
from crm_to_meta.warehouse import Connection
from crm_to_meta_airflow.pages.access import may_see
from crm_to_meta_airflow.pages.cards import build_cards, open_to_read
from crm_to_meta_airflow.pages.notices import notice_of
from crm_to_meta_airflow.pages.pipelines import find_pipeline, list_pipelines, require_pipeline
from crm_to_meta_airflow.pages.run_tab import render_run_tab

REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'"  # it runs no script
SEES_RUNS = Depends(requires_access_dag("GET", DagAccessEntity.RUN))
ERASE_DAG_ID = "crm_to_meta_erase"

router = APIRouter()


@router.get("/")
def show_overview(request: Request, user: GetUserDep) -> HTMLResponse:
    """Show all pipelines whose runs the user may see."""
    cards = build_cards([one for one in list_pipelines() if may_see(user, one.dag_id)], user)
    return HTMLResponse(
        render_overview(cards, root=_root(request), place="overview", notice=notice_of(request.query_params))
    )


@router.get("/card")
def show_card(user: GetUserDep) -> dict[str, Any]:
    """Return what the card on the home page shows: for each pipeline a sentence, and how much is open."""
    cards = build_cards([one for one in list_pipelines() if may_see(user, one.dag_id)], user)
    return {
        "pipelines": [
            {
                "name": card.name,
                "dag_id": card.dag_id,
                "text": card.summary,
                "open": len(card.problems) + len(card.doubts),
                "is_urgent": card.is_urgent,
            }
            for card in cards
        ]
    }


@router.get("/dags/{dag_id}", dependencies=[SEES_RUNS])
def show_dag(request: Request, user: GetUserDep, dag_id: str) -> HTMLResponse:
    """Show the pipeline of a DAG."""
    known = find_pipeline(dag_id)
    if known is None:
        return _show_foreign_dag(request, dag_id)
    notice = notice_of(request.query_params)
    return HTMLResponse(render_overview(build_cards([known], user), root=_root(request), place="dag", notice=notice))


@router.get("/dags/{dag_id}/runs/{run_id}", dependencies=[SEES_RUNS])
def show_run(
    request: Request, user: GetUserDep, dag_id: str, run_id: str, chunk: Annotated[int | None, Query()] = None
) -> HTMLResponse:
    """Show a DAG run with all its passes; of a preview the payload, `chunk` being the number of a request body."""
    known = find_pipeline(dag_id)
    if known is None:
        return _show_foreign_dag(request, dag_id)
    if known.pipeline is None:
        return _show_message(request, "The pipeline file cannot be used", known.trouble or "")
    notice = notice_of(request.query_params)
    page = render_run_tab(known, user, run_id=run_id, chunk_no=chunk, root=_root(request), notice=notice)
    return HTMLResponse(page)


@router.get("/dags/{dag_id}/reports/{run_key}", dependencies=[SEES_RUNS])
def show_report(dag_id: str, run_key: str) -> HTMLResponse:
    """Show the report of one pass, for the frame on a run's tab."""
    with _open_pass(dag_id, run_key) as connection:
        page = render_report(connection, run_key, csv_url=f"{quote(run_key, safe='')}/rows.csv")
    return HTMLResponse(page, headers={"Content-Security-Policy": REPORT_POLICY})


@router.get("/dags/{dag_id}/reports/{run_key}/rows.csv", dependencies=[SEES_RUNS])
def download_rows(dag_id: str, run_key: str) -> StreamingResponse:
    """Send which rows are behind the reasons of a pass: their transition ids, never a value."""
    with _open_pass(dag_id, run_key):
        name = quote(f"{require_pipeline(dag_id).name}-{run_key}.csv")
    return StreamingResponse(
        _stream_rows(dag_id, run_key),
        media_type="text/csv",
        headers={"Content-Disposition": f"attachment; filename*=UTF-8''{name}"},
    )


@contextmanager
def _open_pass(dag_id: str, run_key: str) -> Iterator[Connection]:
    """Open the warehouse of a pass to read; a pass that the DAG's pipeline does not have is not found."""
    pipeline = require_pipeline(dag_id)
    with open_to_read(pipeline.connections.warehouse) as connection:
        if find_dag_run(connection, pipeline=pipeline.name, run_key=run_key) is None:
            raise HTTPException(404)
        yield connection


def _stream_rows(dag_id: str, run_key: str) -> Iterator[str]:
    with _open_pass(dag_id, run_key) as connection:
        yield from write_reason_csv(connection, run_key)


def _root(request: Request) -> str:
    return str(request.scope["root_path"])


def _show_foreign_dag(request: Request, dag_id: str) -> HTMLResponse:
    if dag_id == ERASE_DAG_ID:
        text = "It forgets people, and sends nothing. `capi.erasure` says which requests were carried out, and when."
        return _show_message(request, "This DAG has no report", text)
    text = "This tab is about DAGs that send a CRM's stage changes to Meta. There is nothing to show for this one."
    return _show_message(request, "This DAG is not one of crm-to-meta's", text)


def _show_message(request: Request, title: str, text: str) -> HTMLResponse:
    return HTMLResponse(render_message(title, text, root=_root(request)))
