"""What Airflow gets to know of a step that fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from crm_to_meta.errors import StagingLostError, WarehouseError
from crm_to_meta.ledger.schema import migrate
from crm_to_meta.warehouse import execute

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import AirflowHome

    from crm_to_meta.pipeline.settings import Pipeline
    from crm_to_meta.warehouse import Connection
    from crm_to_meta_demo.embedded_postgres import EmbeddedPostgres

pytestmark = [pytest.mark.airflow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def step_of(
    postgres: EmbeddedPostgres,
    database: str,
    warehouse: Connection,
    pipeline: Pipeline,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[], Any]:
    """Begin the step transform of a run whose lease is over."""
    from crm_to_meta_airflow.steps import _step

    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", postgres.airflow_connection(database))
    migrate(warehouse)
    warehouse.execute(
        """
        INSERT INTO capi.run (run_key, pipeline, mode, dag_run_id, run_type, pass_no, window_start, window_end,
            is_sweep, configuration_digest, lease_until)
        VALUES ('r', 'p', 'live', 'd', 'manual', 1, now(), now() + interval '1 day', true, 'x', now())
        """
    )
    return lambda: _step(pipeline, "r", "transform")


def lose_connection(warehouse: Connection, of_step: Connection) -> None:
    """Let the server end the session of a step."""
    warehouse.execute("SELECT pg_terminate_backend(%s, 10000)", [of_step.info.backend_pid])


def fail_for_good(warehouse: Connection, of_step: Connection) -> None:
    """Find out that a person has something to do, with the connection gone meanwhile."""
    lose_connection(warehouse, of_step)
    raise StagingLostError("first cause")


def fail_in_statement(warehouse: Connection, of_step: Connection) -> None:
    """Run into the lost connection with a statement."""
    lose_connection(warehouse, of_step)
    execute(of_step, "ledger/migrate_list")


def fail_in_transaction(warehouse: Connection, of_step: Connection) -> None:
    """Run into the lost connection with what psycopg itself sends."""
    with of_step.transaction():
        lose_connection(warehouse, of_step)


@pytest.mark.parametrize(
    ("fail", "error", "words"),
    [
        (fail_for_good, StagingLostError, "^first cause$"),
        (fail_in_statement, WarehouseError, "^ledger/migrate_list: .*57P01"),
        (fail_in_transaction, WarehouseError, "^transaction: .*57P01"),
    ],
)
def test_that_the_first_cause_of_a_failed_step_is_told(
    airflow_home: AirflowHome,
    step_of: Callable[[], Any],
    warehouse: Connection,
    fail: Callable[[Connection, Connection], None],
    error: type[Exception],
    words: str,
) -> None:
    """That its time cannot be recorded any more neither hides what happened nor makes it worth a retry."""
    with pytest.raises(error, match=words), step_of() as of_step:
        fail(warehouse, of_step)


def test_that_the_time_of_a_failed_step_is_recorded(
    airflow_home: AirflowHome, step_of: Callable[[], Any], warehouse: Connection
) -> None:
    """Steps that fail have worked, too; and the run is alive."""
    with pytest.raises(StagingLostError), step_of():
        raise StagingLostError("why")

    timings, is_alive = warehouse.execute("SELECT timings, lease_until > now() FROM capi.run").fetchall()[0]
    assert list(timings) == ["transform"]
    assert is_alive


def test_that_a_step_whose_time_cannot_be_recorded_fails(
    airflow_home: AirflowHome, step_of: Callable[[], Any], warehouse: Connection
) -> None:
    """Its lease is not renewed either: that is no success."""
    with pytest.raises(WarehouseError, match=r"^ledger/record_timing: "), step_of() as of_step:
        lose_connection(warehouse, of_step)
