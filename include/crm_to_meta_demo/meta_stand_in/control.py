"""What Meta does not have: routes below `/_stand_in` by which tests read what arrived, plan faults, change settings."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from crm_to_meta_demo.meta_stand_in.faults import Fault, FaultPlan
from crm_to_meta_demo.meta_stand_in.journal import Journal, encode_json
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
    """A page of the accepted events, in order of arrival. `test_event_code=-`: those that came without one."""
    positions = stand_in.journal.select(event_name=event_name, test_event_code=test_event_code)
    found = list(islice(positions, offset, offset + limit + 1))
    events = list(stand_in.journal.read(found[:limit]))
    return JSONResponse({"events": events, "next_offset": offset + limit if len(found) > limit else None})


@router.get("/events.jsonl")
def stream_events(stand_in: StandInInUse, *, event_name: str = "", test_event_code: str = "") -> StreamingResponse:
    """All accepted events, a JSON line each."""
    positions = stand_in.journal.select(event_name=event_name, test_event_code=test_event_code)
    return StreamingResponse(_write_lines(stand_in.journal, positions), media_type="application/x-ndjson")


def _write_lines(journal: Journal, positions: Iterator[int]) -> Iterator[str]:
    while block := list(islice(positions, LINES_PER_BLOCK)):
        yield "".join(f"{encode_json(entry)}\n" for entry in journal.read(block))


@router.delete("/events", status_code=204)
async def forget_events(stand_in: StandInInUse) -> Response:
    """Forgets all events and requests, in the file as well."""
    stand_in.journal.forget()
    return Response(status_code=204)


@router.get("/requests")
def list_requests(stand_in: StandInInUse, *, newest: Annotated[int | None, Query(ge=1)] = None) -> JSONResponse:
    """The requests in the order in which they were answered."""
    return JSONResponse({"requests": [record.to_json() for record in stand_in.journal.list_requests(newest=newest)]})


@router.get("/stats")
def show_stats(stand_in: StandInInUse) -> JSONResponse:
    return JSONResponse(stand_in.journal.tally.to_json())


@router.get("/faults")
def list_faults(stand_in: StandInInUse) -> JSONResponse:
    """The plan, with how often each fault has happened."""
    return JSONResponse({"faults": stand_in.plan.describe()})


@router.put("/faults", status_code=204)
async def set_faults(stand_in: StandInInUse, faults: list[Fault]) -> Response:
    """Replaces the plan; requests are counted from 1 again."""
    stand_in.plan = FaultPlan(faults)
    return Response(status_code=204)


@router.delete("/faults", status_code=204)
async def clear_faults(stand_in: StandInInUse) -> Response:
    stand_in.plan = FaultPlan()
    return Response(status_code=204)


@router.get("/settings")
def show_settings(stand_in: StandInInUse) -> Settings:
    """Tokens are shown as asterisks."""
    return stand_in.settings


@router.put("/settings", status_code=204)
async def change_settings(stand_in: StandInInUse, changes: Settings) -> Response:
    """Only the members that are given change."""
    stand_in.change_settings(changes)
    return Response(status_code=204)


@router.delete("/settings", status_code=204)
async def restore_settings(stand_in: StandInInUse) -> Response:
    """Back to what the stand-in was started with."""
    stand_in.restore_settings()
    return Response(status_code=204)
