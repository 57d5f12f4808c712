"""Read the passes of a DAG run: clearing a run starts another one, and each has its own report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from crm_to_meta.ledger.schema import is_installed
from crm_to_meta.models import Mode
from crm_to_meta.warehouse import Connection, execute

if TYPE_CHECKING:
    from datetime import datetime

    from crm_to_meta.report.payload import Payload

MAX_PASSES: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """A row of capi.run, as far as the tab of a DAG run shows it beside the report."""

    run_key: str
    pass_no: int
    mode: Mode
    state: str
    window_start: datetime
    window_end: datetime
    started_at: datetime
    finished_at: datetime | None
    payload: Payload | None = None


def list_passes(connection: Connection, *, pipeline: str, dag_run_id: str) -> list[Pass]:
    """Return the passes of a DAG run, the newest first; none where no pass has recorded its rows."""
    if not is_installed(connection):
        return []
    scope = {"pipeline": pipeline, "dag_run_id": dag_run_id, "limit": MAX_PASSES}
    return [
        Pass(
            run_key=run_key,
            pass_no=pass_no,
            mode=Mode(mode),
            state=state,
            window_start=window_start,
            window_end=window_end,
            started_at=started_at,
            finished_at=finished_at,
        )
        for run_key, pass_no, mode, state, window_start, window_end, started_at, finished_at in execute(
            connection, "report/passes_list", scope
        )
    ]


def find_dag_run(connection: Connection, *, pipeline: str, run_key: str) -> str | None:
    """Return the id of the DAG run of a run key; None where the pipeline has no such run."""
    if not is_installed(connection):
        return None
    found = execute(connection, "report/passes_find", {"pipeline": pipeline, "run_key": run_key}).fetchone()
    return found[0] if found else None
