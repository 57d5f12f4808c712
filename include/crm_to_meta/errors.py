"""Every error this project raises on purpose, grouped by what the caller has to do.

    CrmToMetaError
    ├── PermanentError              nobody should retry; a person has something to do
    │   ├── ConfigurationError      fix a setting: pipeline file, connection, source table, dataset
    │   │   ├── PipelineFileError   ... in include/pipelines/<name>.yaml
    │   │   ├── ConnectionMissingError  ... Airflow has no connection of this name
    │   │   ├── SourceError         ... the source table, one of its columns, or a right on them
    │   │   ├── WarehouseRefusedError   ... the warehouse: a right, a view, a table, a login
    │   │   └── CredentialsError    ... token, permission or dataset id, as Meta answered
    │   ├── AllRefusedError         fix what all events have in common: Meta refuses each of them alike
    │   ├── BatchRefusedError       fix the data: a critical rule failed, nothing was sent
    │   ├── StagingLostError        what was staged for the run is gone; clear extract
    │   ├── RunTakenOverError       another run holds this run's transitions; it finishes them
    │   ├── DeliveryIncompleteError the run ended with events that Meta does not have yet
    │   └── LawBrokenError          a defect of this project: please report it
    └── RetryableError              try again later, not before `retry_after_s`
        ├── MetaUnavailableError    no answer, or a transient error
        ├── RateLimitedError        Meta asked for a pause
        ├── HeldElsewhereError      another run is at work on events of this run's window
        ├── RunsAtWorkError         an erasure waits for runs to end
        └── WarehouseError          the warehouse cannot be reached, or a statement failed for a passing reason

Messages carry names, counts and ids. No message carries a value of a source row.
"""

from __future__ import annotations

from typing import Self


class CrmToMetaError(Exception):
    """Root of this project's errors."""


class PermanentError(CrmToMetaError):
    """Trying again without a change changes nothing."""


class ConfigurationError(PermanentError):
    """A setting is wrong; the message names it and the remedy."""


class PipelineFileError(ConfigurationError):
    """A pipeline file cannot be used; the message names file, key and remedy."""


class ConnectionMissingError(ConfigurationError):
    """Airflow finds no connection of this name."""


class SourceError(ConfigurationError):
    """The source table or one of its columns is not what the pipeline file says, or may not be read."""


class WarehouseRefusedError(ConfigurationError):
    """The warehouse refuses a statement or a login, however often it is asked; `sqlstate` says how.

    Like `WarehouseError` it never carries the driver's own message.
    """

    def __init__(self, message: str, *, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class CredentialsError(ConfigurationError):
    """Meta refuses the token, a permission or the dataset: no event is at fault."""


class AllRefusedError(PermanentError):
    """Meta refuses event after event alike: nothing more is sent, what is unsent stays pending (docs/adr/0006)."""


class BatchRefusedError(PermanentError):
    """A critical expectation failed: nothing is sent, everything stays pending."""


class StagingLostError(PermanentError):
    """What was staged is gone: after a crash (the table is unlogged), or since the run was taken over or closed."""

    @classmethod
    def about(cls, what: str) -> Self:
        """Return the error with its causes and the remedy; `what` says what is not there, as "Run ...: ... is gone"."""
        return cls(
            f"{what}: the warehouse was restarted after a crash, another run took the rows over, or the run was "
            "closed; clear the task `extract` of this run, or let the next scheduled run take the rows."
        )


class RunTakenOverError(PermanentError):
    """This run's lease ended and another run took its transitions over."""


class DeliveryIncompleteError(PermanentError):
    """The run ended while events are still pending or in doubt."""


class LawBrokenError(PermanentError):
    """An invariant of the design does not hold. Nothing should ever raise this."""


class RetryableError(CrmToMetaError):
    """Trying again later may help.

    Args:
        message: what happened, where, what next.
        retry_after_s: seconds to wait at least; None leaves it to the caller's own back-off.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class MetaUnavailableError(RetryableError):
    """Meta did not answer, or answered with a transient error, more often than one task waits for."""


class RateLimitedError(RetryableError):
    """Meta asked for a pause that is longer than one task waits for."""


class HeldElsewhereError(RetryableError):
    """All of this run is done, and another run that is at work has unfinished events of its window."""


class RunsAtWorkError(RetryableError):
    """What was asked for has to wait until no run is at work."""


class WarehouseError(RetryableError):
    """The warehouse cannot be reached, or a statement failed for a reason that passes; `sqlstate` says how.

    The driver's own message is dropped on purpose: PostgreSQL quotes values in it (see `warehouse_errors`).
    """

    def __init__(self, message: str, *, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
