"""Prints what a run came to: its rows by stage and status, the reasons, and what other runs have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.box import SIMPLE_HEAD
from rich.table import Table

from crm_to_meta.audit.elsewhere import Elsewhere, describe_elsewhere
from crm_to_meta.models import Status
from crm_to_meta.reasons import explain_reason
from crm_to_meta_demo.progress import STEPS

if TYPE_CHECKING:
    from rich.console import Console

    from crm_to_meta.warehouse import Connection

_COLUMNS: Final = (*(str(status) for status in Status),)
_ODDITIES: Final = (
    "SELECT description, observed FROM capi.quality WHERE run_key = %s AND NOT success AND observed IS NOT NULL "
    "AND severity <> 'info' ORDER BY position"
)
_RUN: Final = (
    "SELECT run_key, mode, state, window_start, window_end, extracted, requests, timings, figures, "
    "delivered, rejected, in_doubt, quarantined, expired, skipped, pending FROM capi.run WHERE run_key = %s"
)


def print_summary(console: Console, warehouse: Connection, run_key: str, *, error: str = "") -> None:
    """Print the run's rows per CRM stage and status, why rows were held back, requests and times.

    `error` is what is printed afterwards: audit's has the sentences about other runs already.
    """
    cursor = warehouse.execute(_RUN, [run_key])
    row = cursor.fetchone()
    if row is None or cursor.description is None:
        return
    run = dict(zip([column.name for column in cursor.description], row, strict=True))
    console.print()
    console.print(
        f"[bold]Run {run_key}[/bold]: mode {run['mode']}, stage changes from {run['window_start']:%Y-%m-%d %H:%M} "
        f"to {run['window_end']:%Y-%m-%d %H:%M} UTC"
    )
    elsewhere = [Elsewhere.from_json(kept) for kept in run["figures"].get("elsewhere", ())]
    if run["extracted"]:
        _print_work(console, warehouse, run)
    elif run["state"] == "succeeded" and not elsewhere:
        console.print("Nothing to do: every stage change of this window is finished already. 0 requests were sent.")
    elif elsewhere:
        console.print("No stage change of this window was free to be sent. 0 requests were sent.")
    else:
        console.print("The run was not closed, and no stage change is on record for it.")
    for sentence in describe_elsewhere(elsewhere):
        if sentence not in error:
            console.print(sentence, style="bold", markup=False, soft_wrap=True)


def _print_work(console: Console, warehouse: Connection, run: dict[str, Any]) -> None:
    console.print(_stage_table(run))
    if reasons := run["figures"].get("by_reason"):
        console.print(_reason_table(reasons))
    for rule, observed in warehouse.execute(_ODDITIES, [run["run_key"]]):
        console.print(f"The batch looks odd: the rule is {rule}; here: {observed}. See the report.", soft_wrap=True)
    timings = run["timings"]
    steps = ", ".join(f"{step} {timings[step]:.1f} s" for step in STEPS if step in timings)
    console.print(f"{run['requests']:,} requests to Meta. Time in each step: {steps}.", soft_wrap=True)


def _stage_table(run: dict[str, Any]) -> Table:
    by_stage: dict[str, dict[str, int]] = run["figures"].get("by_stage", {})
    shown = [status for status in _COLUMNS if run[status]]
    table = Table("CRM stage", title="Where each stage change is", title_justify="left", box=SIMPLE_HEAD)
    for status in (*shown, "total"):
        table.add_column(status.replace("_", " "), justify="right")
    for stage, counts in sorted(by_stage.items(), key=lambda item: -sum(item[1].values())):
        table.add_row(stage, *(_number(counts.get(status, 0)) for status in shown), _number(sum(counts.values())))
    table.add_section()
    table.add_row("total", *(_number(run[status]) for status in shown), _number(run["extracted"]), style="bold")
    return table


def _reason_table(reasons: dict[str, int]) -> Table:
    table = Table("reason", title="Why", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("rows", justify="right")
    table.add_column("meaning")
    for reason, rows in sorted(reasons.items(), key=lambda item: -item[1]):
        table.add_row(reason, _number(rows), explain_reason(reason).meaning)
    return table


def _number(count: int) -> str:
    return f"{count:,}" if count else "·"
