"""Check whether warehouse, source table, token, dataset and permissions work, before anything is sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from crm_to_meta.check.checks import Finding, check_meta, check_warehouse
from crm_to_meta.errors import CrmToMetaError
from crm_to_meta.meta.client import MetaClient
from crm_to_meta_cli.airflow_lookup import open_warehouse, read_meta_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crm_to_meta.pipeline.settings import Pipeline
    from crm_to_meta_cli.terminal import Terminal

_TIMEOUT_S: Final = 20.0


def check(terminal: Terminal, pipeline: Pipeline) -> int:
    """Print a line for each part; return 0 where all work, 1 where one does not."""
    console = terminal.console
    console.print(f"Checking the pipeline {pipeline.name}; Meta gets nothing that it could use\n")
    failed = checked = 0
    for finding in _check_parts(pipeline):
        mark = "[green]ok[/green]    " if finding.is_good else "[bold red]FAILED[/bold red]"
        console.print(f"  {mark}  {finding.part:<15}", end="")
        console.print(finding.sentence, markup=False, soft_wrap=True)
        checked += 1
        failed += not finding.is_good
    console.print()
    if failed:
        console.print(f"{failed} of {checked} checks failed. Fix what the lines say, and check again.")
        return 1
    console.print(f"Everything works. Next: `{terminal.spell('preview')}` shows what would be sent.")
    return 0


def _check_parts(pipeline: Pipeline) -> Iterator[Finding]:
    """Yield what is found, part by part; a part that cannot even be opened has failed."""
    schedule = f"{pipeline.schedule} in {pipeline.time_zone}"
    yield Finding(part="pipeline file", is_good=True, sentence=f"{len(pipeline.stages)} stages, runs at {schedule}")
    try:
        with open_warehouse(pipeline.connections.warehouse) as connection:
            yield from check_warehouse(connection, pipeline)
    except CrmToMetaError as error:
        yield Finding(part="warehouse", is_good=False, sentence=str(error))
    try:
        settings = read_meta_settings(pipeline.connections.meta, needs_token=True)
        with MetaClient(settings, timeout_s=_TIMEOUT_S) as client:
            yield check_meta(client, settings, now=datetime.now(UTC))
    except CrmToMetaError as error:
        yield Finding(part="Meta", is_good=False, sentence=str(error))
    yield from _check_alerts(pipeline)


def _check_alerts(pipeline: Pipeline) -> Iterator[Finding]:
    """Yield whether the notifiers that the pipeline file names can be made; nobody is told anything."""
    if not any(pipeline.alerts.notifiers.values()):
        return
    from crm_to_meta_airflow.alerts import find_unusable_notifiers

    problems = find_unusable_notifiers(pipeline)
    for problem in problems:
        yield Finding(part="alerts", is_good=False, sentence=problem)
    if not problems:
        number = sum(len(notifiers) for notifiers in pipeline.alerts.notifiers.values())
        yield Finding(part="alerts", is_good=True, sentence=f"{number} notifiers can be made; none was told anything")
