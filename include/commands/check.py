"""`make check`: whether warehouse, source table, token, dataset and permissions work, before anything is sent.

By default of the embedded parts; of your own warehouse and Meta where the environment or .env names them.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from crm_to_meta.connection_check import Finding, check_meta, check_warehouse
from crm_to_meta.errors import CrmToMetaError
from crm_to_meta.meta_client import MetaClient
from demo.airflow_process import airflow_environment
from demo.environment import read_options
from demo.parts import open_parts
from demo.terminal import run_in_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from crm_to_meta.pipeline import Pipeline

_TIMEOUT_S: Final = 20.0


def main(console: Console) -> int:
    """Check everything; return 0 where all works, 1 where something does not."""
    options = read_options()
    with open_parts(options, console) as parts:
        os.environ.update(airflow_environment(parts.connections))
        console.print(f"Checking the pipeline {options.pipeline.name}; Meta gets nothing that it could use\n")
        return _print_findings(console, find_all(options.pipeline))


def find_all(pipeline: Pipeline) -> Iterator[Finding]:
    """Yield what is found, part by part; what cannot even be opened is a finding, too."""
    from crm_to_meta_airflow.connections import meta_settings, open_warehouse

    stages, rhythm = len(pipeline.stages), f"{pipeline.schedule} in {pipeline.time_zone}"
    yield Finding(part="pipeline file", is_good=True, sentence=f"{stages} stages, runs at {rhythm}")
    try:
        with open_warehouse(pipeline.connections.warehouse) as connection:
            yield from check_warehouse(connection, pipeline)
    except CrmToMetaError as error:
        yield Finding(part="warehouse", is_good=False, sentence=str(error))
    try:
        settings = meta_settings(pipeline.connections.meta, needs_token=True)
        with MetaClient(settings, timeout_s=_TIMEOUT_S) as client:
            yield check_meta(client, settings, now=datetime.now(UTC))
    except CrmToMetaError as error:
        yield Finding(part="Meta", is_good=False, sentence=str(error))


def _print_findings(console: Console, findings: Iterator[Finding]) -> int:
    failed = checked = 0
    for finding in findings:
        mark = "[green]ok[/green]    " if finding.is_good else "[bold red]FAILED[/bold red]"
        console.print(f"  {mark}  {finding.part:<15}", end="")
        console.print(finding.sentence, markup=False, soft_wrap=True)
        checked += 1
        failed += not finding.is_good
    console.print()
    if failed:
        console.print(f"{failed} of {checked} checks failed. Mend what the lines say, and check again.")
        return 1
    console.print("Everything works. Next: `make preview` shows what would be sent.")
    return 0


if __name__ == "__main__":
    run_in_terminal(main)
