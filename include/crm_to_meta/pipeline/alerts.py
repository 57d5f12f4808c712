"""The settings of a pipeline's alerts: which of a deployment's notifiers are told, and of what.

A notifier is a class of Airflow or of one of its providers, loaded where an alert is sent. Whether there is such a
module is found without importing it, since a pipeline file is read at every parse. `check` imports it.
"""

from __future__ import annotations

import re
from importlib.machinery import PathFinder
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_CLASS_PATH: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


class NotifierSettings(BaseModel):
    """One notifier of Airflow, by its class and arguments."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    notifier: str = Field(
        description="Class of the notifier, such as `airflow.providers.smtp.notifications.smtp.SmtpNotifier`."
    )
    arguments: dict[str, Any] = Field(
        default={},
        description="Its arguments. Texts may contain `{{ headline }}`, `{{ link }}` and `{{ pipeline }}`, where the "
        "notifier renders them.",
    )

    @field_validator("notifier")
    @classmethod
    def _is_in_a_module(cls, path: str) -> str:
        if not _CLASS_PATH.fullmatch(path):
            raise ValueError(
                "must be the path of a class, such as airflow.providers.smtp.notifications.smtp.SmtpNotifier"
            )
        module = path.rpartition(".")[0]
        if missing := find_missing_module(module):
            raise ValueError(f"there is no module `{missing}`; install the provider that has it, or correct the path")
        return path


class Alerts(BaseModel):
    """Who is told when a run fails, when the data looks odd, and when a day's upload is late."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    on_failure: tuple[NotifierSettings, ...] = Field(
        default=(), description="Notifiers that are told once of each live run that fails."
    )
    on_quality: tuple[NotifierSettings, ...] = Field(
        default=(), description="Notifiers that are told of each live run whose rows break a rule about the batch."
    )
    late_after_minutes: int | None = Field(
        default=None,
        ge=1,
        le=7 * 24 * 60,
        description="A run that is not done this many minutes after it was due to start is late. Backfills and runs "
        "that a person starts are not.",
    )
    on_late: tuple[NotifierSettings, ...] = Field(
        default=(), description="Notifiers that are told of a late run. They need `late_after_minutes`."
    )

    @model_validator(mode="after")
    def _know_when_late(self) -> Self:
        if self.on_late and self.late_after_minutes is None:
            raise ValueError("`on_late` tells nobody without `late_after_minutes`; add it")
        return self

    @property
    def notifiers(self) -> dict[str, tuple[NotifierSettings, ...]]:
        """Return the notifiers by their key in the pipeline file."""
        return {
            "alerts.on_failure": self.on_failure,
            "alerts.on_quality": self.on_quality,
            "alerts.on_late": self.on_late,
        }


def find_missing_module(module: str) -> str | None:
    """Return the part of a dotted name that is no module, None where all of it is there. Nothing is imported."""
    folders = None
    parts = module.split(".")
    for position, _ in enumerate(parts):
        name = ".".join(parts[: position + 1])
        spec = PathFinder.find_spec(name, folders)
        if spec is None:
            return name
        folders = list(spec.submodule_search_locations or [])
    return None
