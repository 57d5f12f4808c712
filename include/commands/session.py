"""The environment and .env in; a terminal, a pipeline and its open warehouse out."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from crm_to_meta.errors import ConfigurationError
from crm_to_meta.models import Mode
from demo.environment import LOCAL_FOLDER, RunOptions, read_options
from demo.terminal import run_in_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from crm_to_meta.pipeline import Pipeline
    from crm_to_meta.warehouse import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What a command works with."""

    console: Console
    pipeline: Pipeline
    warehouse: Connection


def run_command(command: Callable[[Session], None]) -> NoReturn:
    """Run a command on its warehouse, and exit."""

    def run(console: Console) -> int:
        # A preview needs no token, and no command sends anything.
        options = read_options({**os.environ, "MODE": Mode.PREVIEW, "TEST_EVENT_CODE": ""})
        open_warehouse = _embedded_warehouse if options.is_embedded else _own_warehouse
        with open_warehouse(options) as warehouse:
            command(Session(console=console, pipeline=options.pipeline, warehouse=warehouse))
        return 0

    run_in_terminal(run)


@contextmanager
def _own_warehouse(options: RunOptions) -> Iterator[Connection]:
    os.environ.setdefault("AIRFLOW_HOME", str(LOCAL_FOLDER / "airflow"))  # else Airflow makes one in the home folder
    os.environ[options.warehouse_variable] = options.settings[options.warehouse_variable]
    from crm_to_meta_airflow.connections import open_warehouse

    with open_warehouse(options.pipeline.connections.warehouse) as connection:
        yield connection


@contextmanager
def _embedded_warehouse(options: RunOptions) -> Iterator[Connection]:
    folder = LOCAL_FOLDER / "postgres"
    if not folder.exists():
        raise ConfigurationError(
            f"{options.warehouse_variable} names no warehouse, and `make run` has not made the embedded one yet; "
            "set it (.env.example), or run `make run` first."
        )
    from demo.embedded_postgres import running_postgres
    from demo.parts import WAREHOUSE_DATABASE, only_one_at_a_time

    with only_one_at_a_time(), running_postgres(folder) as postgres, postgres.connect(WAREHOUSE_DATABASE) as connection:
        yield connection
