"""The figures of an audited run in a few words, for lists that have room for no more: counts, never a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from crm_to_meta.models import Mode, Status
from crm_to_meta.warehouse import execute, one_row

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from crm_to_meta.warehouse import Connection

_COUNTED: Final = (  # in the order of sql/read_figures.sql
    Status.DELIVERED, Status.REJECTED, Status.IN_DOUBT, Status.QUARANTINED, Status.EXPIRED, Status.SKIPPED,
    Status.PENDING,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFigures:
    """What a run came to.

    `elsewhere` counts unfinished events of its window that other runs have, `delay` is how long after the window's end
    the run was done.
    """

    run_key: str
    mode: Mode
    state: str
    extracted: int
    counts: Mapping[Status, int]
    elsewhere: int
    delay: timedelta

    @property
    def in_words(self) -> str:
        """Return such as "2,598 delivered, 94 need a look"."""
        look = self.counts[Status.QUARANTINED] + self.counts[Status.REJECTED]
        is_preview = self.mode is Mode.PREVIEW
        clauses = [
            "" if is_preview else f"{self.counts[Status.DELIVERED]:,} delivered",
            _counted(self.counts[Status.PENDING], "to send" if is_preview else "pending"),
            _counted(look, "needs a look" if look == 1 else "need a look"),
            _counted(self.counts[Status.IN_DOUBT], "in doubt"),
            _counted(self.counts[Status.EXPIRED], "too old"),
            _counted(self.elsewhere, "with other runs"),
        ]
        words = ", ".join(filter(None, clauses)) if self.extracted or self.elsewhere else "nothing new"
        return words if self.mode is Mode.LIVE else f"{self.mode}: {words or 'nothing to send'}"

    def as_json(self) -> dict[str, str | int]:
        """Return what an event of Airflow's may carry: mode, key of the run, counts."""
        counts = {str(status): number for status, number in self.counts.items()}
        return {"run_key": self.run_key, "mode": str(self.mode), "extracted": self.extracted, **counts}


def read_figures(connection: Connection, run_key: str) -> RunFigures:
    """Return the figures of a run that audit has closed.

    Raises:
        StagingLostError: there is no such run any more.
        WarehouseError: the statement failed.
    """
    row = one_row(execute(connection, "audit/read_figures", {"run_key": run_key}))
    mode, state, window_end, finished_at, extracted, *counts, elsewhere = row
    return RunFigures(
        run_key=run_key,
        mode=Mode(mode),
        state=state,
        extracted=extracted,
        counts=dict(zip(_COUNTED, counts, strict=True)),
        elsewhere=int(elsewhere),
        delay=finished_at - window_end,
    )


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" if number else ""
