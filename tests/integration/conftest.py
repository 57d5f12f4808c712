"""What the tests of the five steps share: a company with a CRM, a warehouse and a dataset at the stand-in for Meta."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from daily_run import Company, configured
from psycopg import sql

from crm_to_meta.ledger.schema import migrate
from crm_to_meta_demo.meta_stand_in.testing import StandIn, running_stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from crm_to_meta.pipeline.settings import Pipeline
    from crm_to_meta.warehouse import Connection
    from crm_to_meta_demo.embedded_postgres import EmbeddedPostgres


# In order, so that tests can say which request is the n-th; test_concurrency.py is about several at a time.
ONE_AT_A_TIME = {"chunk_size": 10, "attempts": 3, "timeout_seconds": 60, "concurrency": 1}

_database_numbers = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk(postgres: EmbeddedPostgres) -> None:
    """Spare the disk: no test pulls the plug, and killed processes do not lose what the server has."""
    with postgres.connect() as connection:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            connection.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(setting)))
        connection.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="session")
def template(postgres: EmbeddedPostgres) -> str:
    """A database that has the schema capi and nothing else."""
    postgres.create_database("template_with_capi")
    with postgres.connect("template_with_capi") as connection:
        migrate(connection)
    return "template_with_capi"


@pytest.fixture
def database(postgres: EmbeddedPostgres, template: str) -> str:
    """The name of a database of the test's own, with the schema capi.

    The one of the test before is dropped now: right after its connections were closed PostgreSQL waits for their end.
    """
    number = next(_database_numbers)
    last, name = sql.Identifier(f"steps_{number - 1}"), sql.Identifier(f"steps_{number}")
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(name, sql.Identifier(template))
    with postgres.connect() as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(last))
        connection.execute(create)
    return f"steps_{number}"


@pytest.fixture(scope="session")
def meta() -> Iterator[StandIn]:
    """One stand-in for Meta for all tests of the steps, since stopping one takes half a second."""
    with running_stand_in() as server:
        yield server


@pytest.fixture
def company(
    postgres: EmbeddedPostgres,
    database: str,
    warehouse: Connection,
    meta: StandIn,
    pipeline: Pipeline,
    today: datetime,
) -> Company:
    """A company at noon of today, with an empty CRM; the stand-in's clock stands still at that time, too."""
    meta.reset()
    return Company(
        warehouse=warehouse,
        connect=lambda: postgres.connect(database),
        stand_in=meta,
        pipeline=configured(pipeline, delivery=ONE_AT_A_TIME),
        now=today + timedelta(hours=12),
    )
