"""Decides which failed tasks Airflow tries again: none after a permanent error, others after the time they ask for."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import RetryDecision, RetryPolicy

from crm_to_meta.errors import PermanentError, RetryableError

if TYPE_CHECKING:
    from airflow.sdk import Context

LONGEST_RETRY_DELAY = timedelta(hours=1)  # Meta counts its limits over an hour

DEFAULT_ARGS: dict[str, Any] = {  # of every task
    "retries": int(os.environ.get("CRM_TO_META_RETRIES", "5")),  # `make run` wants an answer at once
    "retry_delay": timedelta(minutes=2),
    "retry_exponential_backoff": 2,
    "max_retry_delay": LONGEST_RETRY_DELAY,
    "execution_timeout": timedelta(hours=6),  # a worker that hangs must not keep its transitions for ever
}


class CrmToMetaRetryPolicy(RetryPolicy):
    """Fails at once where a person has something to do; otherwise waits at least `retry_after_s`."""

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,  # noqa: ARG002 - Airflow's signature
        max_tries: int,  # noqa: ARG002 - Airflow's signature
        context: Context | None = None,  # noqa: ARG002 - Airflow's signature
    ) -> RetryDecision:
        """Decide about one failed try."""
        if isinstance(exception, PermanentError):
            return RetryDecision.fail(f"{type(exception).__name__}: nothing changes by trying again")
        if isinstance(exception, RetryableError) and exception.retry_after_s is not None:
            delay = min(timedelta(seconds=exception.retry_after_s), LONGEST_RETRY_DELAY)
            return RetryDecision.retry(delay, reason=f"{type(exception).__name__} asks for it")
        return RetryDecision.default()
