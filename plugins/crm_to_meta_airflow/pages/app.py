"""The app that Airflow mounts: every route behind login, every answer with the headers that keep a page harmless."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import get_user, requires_access_view
from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from crm_to_meta.errors import CrmToMetaError
from crm_to_meta.report.pages import render_message
from crm_to_meta_airflow.pages import decisions, routes, static_files

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi import Request, Response

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
        "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",  # with no-referrer, a form would not say where it comes from
    "X-Content-Type-Options": "nosniff",
}
_TITLES: Final = {
    401: "Please log in",
    403: "You may not do this",
    404: "There is nothing here",
    503: "The warehouse cannot be read",
}
_TEXTS: Final = {
    401: "Your login to Airflow has ended. Reload Airflow, and log in again.",
    403: "Your role in Airflow lacks the right to it: to see the runs of this DAG, or to edit them. Your Airflow "
    "administrator can grant it.",
    404: "The address is wrong, or what was there is gone. Go back to the overview in Airflow's navigation.",
}


def create_app() -> FastAPI:
    """Return the app. Every route asks for a login and for the right to see Airflow's website; most ask for more."""
    app = FastAPI(
        dependencies=[Depends(get_user), Depends(requires_access_view(AccessView.WEBSITE))],
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.include_router(static_files.router)
    app.include_router(routes.router)
    app.include_router(decisions.router)
    app.add_exception_handler(StarletteHTTPException, _answer_http_error)
    app.add_exception_handler(CrmToMetaError, _answer_own_error)
    app.middleware("http")(_add_headers)
    return app


async def _add_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


async def _answer_http_error(request: Request, error: Exception) -> Response:
    """Send a page: in the frame, the JSON that FastAPI would send is no answer to a person."""
    status = error.status_code if isinstance(error, StarletteHTTPException) else 500
    detail = error.detail if isinstance(error, decisions.RefusedError) else _TEXTS.get(status, "")
    page = render_message(
        _TITLES.get(status, "This did not work"), detail or f"Status {status}.", root=request.scope["root_path"]
    )
    return HTMLResponse(page, status_code=status)


async def _answer_own_error(request: Request, error: Exception) -> Response:
    """Say what is wrong with a warehouse or a setting; those messages contain no value."""
    return HTMLResponse(render_message(_TITLES[503], str(error), root=request.scope["root_path"]), status_code=503)
