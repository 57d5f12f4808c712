"""Preview: what a live run would send now, built byte for byte, and nothing sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from crm_to_meta.models import Status
from crm_to_meta.report.preview import describe_preview
from crm_to_meta_cli.airflow_lookup import open_warehouse, read_meta_settings
from crm_to_meta_cli.dry_run import dry_run, find_window

if TYPE_CHECKING:
    from datetime import date

    from crm_to_meta.models import Window
    from crm_to_meta.pipeline.settings import Pipeline
    from crm_to_meta_cli.dry_run import DryRun
    from crm_to_meta_cli.terminal import Terminal

_FATES: Final = {  # status of a preview's rows: what a live run would do with them
    Status.PENDING: "to send",
    Status.QUARANTINED: "to quarantine",
    Status.SKIPPED: "to skip",
    Status.EXPIRED: "too old for Meta",
}


def preview(terminal: Terminal, pipeline: Pipeline, *, day: date | None) -> int:
    """Print counts and a few exact events; return 1 where the rows would be refused as a batch."""
    window = find_window(pipeline, day)
    settings = read_meta_settings(pipeline.connections.meta, needs_token=False)
    with open_warehouse(pipeline.connections.warehouse) as connection:
        run = dry_run(
            connection,
            pipeline,
            window,
            command="preview",
            crm_name=settings.crm_name,
            partner_agent=settings.partner_agent,
        )
        text = describe_preview(connection, run.run_key, events_url=settings.events_url)
    terminal.console.print(_describe_counts(pipeline, window, run), markup=False, soft_wrap=True)
    if run.refusal:
        terminal.console.print(f"A live run would send nothing. {run.refusal}", markup=False, soft_wrap=True)
        return 1
    terminal.console.print(text, markup=False, soft_wrap=True)  # else the terminal breaks the bytes
    return 0


def _describe_counts(pipeline: Pipeline, window: Window, run: DryRun) -> str:
    start, end = (f"{moment.astimezone(pipeline.zone):%Y-%m-%d %H:%M}" for moment in (window.start, window.end))
    fates = ", ".join(f"{run.counts[status]:,} {fate}" for status, fate in _FATES.items() if run.counts[status])
    return (
        f"A live run of {pipeline.name} for {start} to {end} ({pipeline.time_zone}) would take {run.staged:,} stage "
        f"changes{f': {fates}' if fates and not run.refusal else ''}.\n"
        f"This preview is run {run.run_key} in capi.run.\n"
    )
