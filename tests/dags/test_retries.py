"""Which errors Airflow tries again."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from crm_to_meta.errors import (
    BatchRefusedError,
    CredentialsError,
    MetaUnavailableError,
    PermanentError,
    RateLimitedError,
    SourceError,
    StagingLostError,
    WarehouseError,
    WarehouseRefusedError,
)

if TYPE_CHECKING:
    from conftest import AirflowHome

pytestmark = [pytest.mark.airflow, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize(
    "error", [SourceError, CredentialsError, BatchRefusedError, StagingLostError, WarehouseRefusedError]
)
def test_that_permanent_errors_are_not_tried_again(airflow_home: AirflowHome, error: type[PermanentError]) -> None:
    """Where a person has something to do, trying again only hides it."""
    from airflow.sdk import RetryAction

    from crm_to_meta_airflow.retries import CrmToMetaRetryPolicy

    assert CrmToMetaRetryPolicy().evaluate(error("why"), 1, 5).action == RetryAction.FAIL


@pytest.mark.parametrize(
    ("asked_s", "waits"), [(30.0, timedelta(seconds=30)), (7200.0, timedelta(hours=1))], ids=["short", "too long"]
)
def test_that_a_rate_limit_is_waited_out(airflow_home: AirflowHome, asked_s: float, waits: timedelta) -> None:
    """Meta's own time to wait goes before Airflow's back-off, up to an hour."""
    from airflow.sdk import RetryAction

    from crm_to_meta_airflow.retries import CrmToMetaRetryPolicy

    decision = CrmToMetaRetryPolicy().evaluate(RateLimitedError("why", retry_after_s=asked_s), 1, 5)

    assert decision.action == RetryAction.RETRY
    assert decision.retry_delay == waits


@pytest.mark.parametrize("error", [MetaUnavailableError("why"), WarehouseError("why"), KeyError("why")], ids=repr)
def test_that_other_errors_are_left_to_airflow(airflow_home: AirflowHome, error: Exception) -> None:
    """Airflow's retries and delays decide."""
    from airflow.sdk import RetryAction

    from crm_to_meta_airflow.retries import CrmToMetaRetryPolicy

    assert CrmToMetaRetryPolicy().evaluate(error, 1, 5).action == RetryAction.DEFAULT
