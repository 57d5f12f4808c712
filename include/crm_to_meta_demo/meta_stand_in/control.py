"""Routes below `/_stand_in` for tests: read what arrived, plan faults, change settings. Meta has none of these."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from crm_to_meta_demo.meta_stand_in.faults import Fault, FaultPlan
from crm_to_meta_demo.meta_stand_in.request_log import RequestLog, encode_json
from crm_to_meta_demo.meta_stand_in.settings import Settings
from crm_to_meta_demo.meta_stand_in.stand_in import MetaStandIn

MAX_EVENTS_PER_PAGE: Final = 10_000
LINES_PER_BLOCK: Final = 500

router = APIRouter(prefix="/_stand_in")


def get_stand_in(request: Request) -> MetaStandIn:
    stand_in: MetaStandIn = request.app.state.stand_in
    return stand_in


StandInInUse = Annotated[MetaStandIn, Depends(get_stand_in)]


@router.get("/events")
def list_events(
    stand_in: StandInInUse,
    *,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_EVENTS_PER_PAGE)] = 1_000,
    event_name: str = "",
    test_event_code: str = "",
) -> JSONResponse:
    """Return a page of the accepted events, in order of arrival. `test_event_code=-`: those without a code."""
    positions = stand_in.request_log.select(event_name=event_name, test_event_code=test_event_code)
    found = list(islice(positions, offset, offset + limit + 1))
    events = list(stand_in.request_log.read(found[:limit]))
    return JSONResponse({"events": events, "next_offset": offset + limit if len(found) > limit else None})


@router.get("/events.jsonl")
def stream_events(stand_in: StandInInUse, *, event_name: str = "", test_event_code: str = "") -> StreamingResponse:
    """Return all accepted events, one JSON line for each."""
    positions = stand_in.request_log.select(event_name=event_name, test_event_code=test_event_code)
    return StreamingResponse(_write_lines(stand_in.request_log, positions), media_type="application/x-ndjson")


def _write_lines(request_log: RequestLog, positions: Iterator[int]) -> Iterator[str]:
    while block := list(islice(positions, LINES_PER_BLOCK)):
        yield "".join(f"{encode_json(entry)}\n" for entry in request_log.read(block))


@router.delete("/events", status_code=204)
async def forget_events(stand_in: StandInInUse) -> Response:
    """Forget all events and requests, also in the file."""
    stand_in.request_log.forget()
    return Response(status_code=204)


@router.get("/requests")
def list_requests(stand_in: StandInInUse, *, newest: Annotated[int | None, Query(ge=1)] = None) -> JSONResponse:
    """Return the requests in the order in which they were answered."""
    records = stand_in.request_log.list_requests(newest=newest)
    return JSONResponse({"requests": [record.to_json() for record in records]})


@router.get("/stats")
def show_stats(stand_in: StandInInUse) -> JSONResponse:
    return JSONResponse(stand_in.request_log.tally.to_json())


@router.get("/faults")
def list_faults(stand_in: StandInInUse) -> JSONResponse:
    """Return the fault plan, with the number of times each fault happened."""
    return JSONResponse({"faults": stand_in.plan.describe()})


@router.put("/faults", status_code=204)
async def set_faults(stand_in: StandInInUse, faults: list[Fault]) -> Response:
    """Replace the fault plan; requests are counted from 1 again."""
    stand_in.plan = FaultPlan(faults)
    return Response(status_code=204)


@router.delete("/faults", status_code=204)
async def clear_faults(stand_in: StandInInUse) -> Response:
    stand_in.plan = FaultPlan()
    return Response(status_code=204)


@router.get("/settings")
def show_settings(stand_in: StandInInUse) -> Settings:
    """Return the settings, with asterisks instead of tokens."""
    return stand_in.settings


@router.put("/settings", status_code=204)
async def change_settings(stand_in: StandInInUse, changes: Settings) -> Response:
    """Change the given settings, and keep the others."""
    stand_in.change_settings(changes)
    return Response(status_code=204)


@router.delete("/settings", status_code=204)
async def restore_settings(stand_in: StandInInUse) -> Response:
    """Restore the settings that the stand-in was started with."""
    stand_in.restore_settings()
    return Response(status_code=204)
