"""`make check`, `make plan`, `make doubts` and `make erase`: production's command line on the parts of a clone.

They are those that `make run` uses: your own warehouse and Meta where the environment or .env names them, else the
embedded ones. Options are variables, as make has them.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

from crm_to_meta.errors import ConfigurationError
from crm_to_meta.models import Mode
from crm_to_meta_cli import command_line
from crm_to_meta_demo.airflow_process import airflow_environment
from crm_to_meta_demo.embedded_postgres import running_postgres
from crm_to_meta_demo.environment import LOCAL_FOLDER, RunOptions, read_options
from crm_to_meta_demo.parts import WAREHOUSE_DATABASE, only_one_at_a_time, open_parts, own_connections
from crm_to_meta_demo.terminal import run_in_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import Console

VARIABLES: Final = {"check": (), "plan": ("FROM", "TO"), "doubts": ("SETTLE", "RUN"), "erase": ("LEAD",)}


def main(console: Console) -> int:
    """Run the command that the process was started for, and return its exit code."""
    command = sys.argv[1]
    if command == "check":
        options = read_options()
        with open_parts(options, console) as parts:
            return _run(command, options, parts.connections)
    # A plan needs no token, and the others send nothing.
    options = read_options({**os.environ, "MODE": Mode.PREVIEW, "TEST_EVENT_CODE": ""})
    warehouse = _embedded_warehouse(options) if options.is_embedded else nullcontext(own_connections(options))
    with warehouse as connections:
        return _run(command, options, connections)


def _run(command: str, options: RunOptions, connections: Mapping[str, str]) -> int:
    os.environ.update(airflow_environment(connections))
    given = [f"--{name.lower()}={value}" for name in VARIABLES[command] if (value := os.environ.get(name))]
    return command_line.main([command, f"--pipeline={options.pipeline.name}", *given], spell=spell_target)


def spell_target(command: str, **options: str) -> str:
    """Return how a command and its options are given to make."""
    return " ".join(["make", command, *(f"{name.upper()}={value}" for name, value in options.items())])


@contextmanager
def _embedded_warehouse(options: RunOptions) -> Iterator[Mapping[str, str]]:
    """Start the embedded warehouse as `make run` left it."""
    folder = LOCAL_FOLDER / "postgres"
    if not folder.exists():
        raise ConfigurationError(
            f"{options.warehouse_variable} names no warehouse, and `make run` has not made the embedded one yet; "
            "set it (.env.example), or run `make run` first."
        )
    with only_one_at_a_time(), running_postgres(folder) as postgres:
        yield {options.warehouse_variable: postgres.airflow_connection(WAREHOUSE_DATABASE)}


if __name__ == "__main__":
    run_in_terminal(main)
