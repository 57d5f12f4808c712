"""A person settles events in doubt from a page, as the command `doubts` does; the ledger keeps who it was."""

# FastAPI reads annotations when the app is built: what they name is imported for real.
from typing import Annotated, Literal
from urllib.parse import quote, urlencode, urlsplit

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.configuration import conf
from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import RedirectResponse

from crm_to_meta.ledger.doubts import Decision, settle_doubts
from crm_to_meta.report.passes import find_dag_run
from crm_to_meta_airflow.connections import open_warehouse
from crm_to_meta_airflow.pages.cards import CONNECT_TIMEOUT_S
from crm_to_meta_airflow.pages.pipelines import require_pipeline

EDITS_RUNS = Depends(requires_access_dag("PUT", DagAccessEntity.RUN))

router = APIRouter()


class RefusedError(HTTPException):
    """A request is refused for a reason that the person should read."""


def require_own_origin(request: Request) -> None:
    """Refuse a request that another site may have sent in the name of a person who is logged in here.

    Raises:
        RefusedError: the browser does not say that one of these pages sent it.
    """
    origin = urlsplit(request.headers.get("origin", ""))
    public = urlsplit(conf.get("api", "base_url", fallback="") or "")
    known = {request.headers.get("host", "").lower(), public.netloc.lower()} - {""}
    came_from = request.headers.get("sec-fetch-site", "same-origin")
    if origin.scheme not in {"http", "https"} or origin.netloc.lower() not in known or came_from != "same-origin":
        raise RefusedError(
            403,
            "The request did not come from this page, so nothing was changed. Open the page in Airflow, and decide "
            "there. Behind a proxy, `[api] base_url` of Airflow has to be the address that people use.",
        )


@router.post(
    "/dags/{dag_id}/doubts/{run_key}/{decision}",
    dependencies=[EDITS_RUNS, Depends(require_own_origin)],
)
def settle(
    request: Request,
    user: GetUserDep,
    dag_id: str,
    run_key: str,
    decision: Decision,
    place: Annotated[Literal["overview", "dag", "run"], Query()] = "overview",
) -> RedirectResponse:
    """Record a decision about the events of one run, and lead back to the page that it was made on."""
    pipeline = require_pipeline(dag_id)
    with open_warehouse(pipeline.connections.warehouse, connect_timeout_s=CONNECT_TIMEOUT_S) as connection:
        dag_run_id = find_dag_run(connection, pipeline=pipeline.name, run_key=run_key)
        if dag_run_id is None:
            raise HTTPException(404)
        settled = settle_doubts(
            connection, pipeline=pipeline.name, decision=decision, decided_by=user.get_name(), run_key=run_key
        )
    paths = {
        "overview": "/",
        "dag": f"/dags/{quote(dag_id)}",
        "run": f"/dags/{quote(dag_id)}/runs/{quote(dag_run_id, safe='')}",
    }
    query = urlencode({"decision": decision.value, "settled": settled})
    return RedirectResponse(f"{request.scope['root_path']}{paths[place]}?{query}", status_code=303)
