"""Create the FastAPI application with Meta's route, the page and the control routes.

It answers only to loopback host names, so that a web page elsewhere cannot read it by DNS rebinding.
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from crm_to_meta_demo.meta_stand_in import control, page
from crm_to_meta_demo.meta_stand_in.checks import Call
from crm_to_meta_demo.meta_stand_in.connection import Connection
from crm_to_meta_demo.meta_stand_in.control import StandInInUse
from crm_to_meta_demo.meta_stand_in.stand_in import MetaStandIn

LOOPBACK_NAMES: Final = ["127.0.0.1", "localhost"]
PAGE_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; base-uri 'none'"
PAGE_HEADERS: Final = {"content-security-policy": PAGE_POLICY, "cache-control": "no-store"}

router = APIRouter()


def create_app(stand_in: MetaStandIn) -> FastAPI:
    # No interactive documentation: it would load scripts from the internet.
    app = FastAPI(title="Stand-in for Meta", docs_url=None, redoc_url=None, openapi_url="/_stand_in/openapi.json")
    app.state.stand_in = stand_in
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=LOOPBACK_NAMES, www_redirect=False)
    app.include_router(control.router)
    app.include_router(router)
    return app


@router.post("/{version}/{dataset_id}/events")
async def receive_events(version: str, dataset_id: str, request: Request, stand_in: StandInInUse) -> Response:
    """Receive events, as Meta's page "Using the API" describes it."""
    call = Call(
        version=version,
        dataset_id=dataset_id,
        raw_body=await request.body(),
        authorization=request.headers.get("authorization", ""),
        query_token=request.query_params.get("access_token"),
        query_proof=request.query_params.get("appsecret_proof"),
        content_type=request.headers.get("content-type", ""),
        content_encoding=request.headers.get("content-encoding", ""),
    )
    connection: Connection = request.state.connection
    answer = await stand_in.receive(call, connection)
    if answer.ending == "reset":
        await connection.reset()
    elif answer.ending == "cut":
        await connection.cut(answer)
    # uvicorn drops this answer if the connection is gone.
    return Response(answer.body, status_code=answer.status, media_type=answer.media_type, headers=dict(answer.headers))


@router.get("/")
def show_page(stand_in: StandInInUse, *, event_name: str = "", test_event_code: str = "") -> HTMLResponse:
    html = page.render_page(stand_in.request_log, event_name=event_name, test_event_code=test_event_code)
    return HTMLResponse(html, headers=PAGE_HEADERS)
