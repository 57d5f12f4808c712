"""Unfinished events of a run's window that other runs have: how many, where, until when, and what to do about them.

A run that finds nothing of its own to do has not finished its window while such events are left.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Self

from crm_to_meta.meta.limits import META_DEDUPLICATION_WINDOW
from crm_to_meta.warehouse import execute

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from crm_to_meta.pipeline.settings import Pipeline
    from crm_to_meta.warehouse import Connection

MAX_RUNS_NAMED: Final = 3


class Situation(StrEnum):
    """What becomes of events that another run has (sql/find_elsewhere.sql)."""

    AT_WORK = "at_work"  # the lease of that run is not over: it finishes them
    SILENT = "silent"  # the lease is over and no run has taken them over yet
    LEFT = "left"  # that run ended without finishing them; the next one takes them
    UNDECIDED = "undecided"  # in doubt, and no run may send them again: a person decides


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """Events of the window that one other run has.

    `lease_until` is when that run is taken for dead, `finished_at` when it ended (None while it is running), and
    `sendable_until` when the oldest of the events becomes too old for Meta (None where no event has a time).
    """

    run_key: str
    situation: Situation
    events: int
    lease_until: datetime
    finished_at: datetime | None
    sendable_until: datetime | None

    def as_json(self) -> dict[str, Any]:
        """Return what `capi.run.figures` keeps."""
        return {
            "run_key": self.run_key,
            "situation": str(self.situation),
            "events": self.events,
            "lease_until": self.lease_until.isoformat(),
            "finished_at": self.finished_at and self.finished_at.isoformat(),
            "sendable_until": self.sendable_until and self.sendable_until.isoformat(),
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """Return what `as_json` wrote down."""
        moments = {name: kept[name] for name in ("lease_until", "finished_at", "sendable_until")}
        read: dict[str, Any] = {name: text and datetime.fromisoformat(text) for name, text in moments.items()}
        return cls(run_key=kept["run_key"], situation=Situation(kept["situation"]), events=kept["events"], **read)


def find_elsewhere(connection: Connection, pipeline: Pipeline, *, run_key: str, now: datetime) -> list[Elsewhere]:
    """Return what other runs of the pipeline have of a run's window, the oldest run first.

    Args:
        connection: to the warehouse.
        pipeline: says whether runs send events in doubt again, and how old an event may be.
        run_key: the run whose window is looked at.
        now: the moment that the age of doubts is measured against.
    """
    policy = {
        "resend_in_doubt": pipeline.delivery.on_in_doubt == "resend",
        "deduplication_window": META_DEDUPLICATION_WINDOW,
    }
    found = execute(connection, "audit/find_elsewhere", {**policy, "run_key": run_key, "now": now})
    return [
        Elsewhere(
            run_key=owner,
            situation=Situation(situation),
            events=events,
            lease_until=lease_until,
            finished_at=finished_at,
            sendable_until=oldest and oldest + pipeline.delivery.max_event_age,
        )
        for owner, situation, events, lease_until, finished_at, oldest in found
    ]


def describe_elsewhere(found: Sequence[Elsewhere]) -> list[str]:
    """Return for each situation a few sentences: how many events, which runs, until when, what to do."""
    by_situation = {situation: [one for one in found if one.situation is situation] for situation in Situation}
    return [_SENTENCES[situation](some) for situation, some in by_situation.items() if some]


def _describe_at_work(found: Sequence[Elsewhere]) -> str:
    lease_until = max(one.lease_until for one in found)
    return (
        f"{_counted(found)} held by {_runs(found)} until {_shown(lease_until)} at least, and finished there. If its "
        "worker has died, a run that starts after that time takes them over."
    )


def _describe_silent(found: Sequence[Elsewhere]) -> str:
    lease_until = min(one.lease_until for one in found)
    return (
        f"{_counted(found)} held by {_runs(found)}, without a sign of life where one was due by {_shown(lease_until)}: "
        "its worker has died, or waits for its next try. Clear this run from `extract`, or let the next run take them "
        f"over.{_deadline(found)}"
    )


def _describe_left(found: Sequence[Elsewhere]) -> str:
    return (
        f"{_counted(found)} left unfinished by {_runs(found)}. Clear this run from `extract`, or let the next run take "
        f"over what is still in the source table.{_deadline(found)}"
    )


def _describe_undecided(found: Sequence[Elsewhere]) -> str:
    return (
        f"{_counted(found)} in doubt: {_runs(found)} sent them, and no answer says whether Meta has them. No run sends "
        "them again until a person decides: `python -m crm_to_meta_cli doubts` (in a clone: `make doubts`) lists and "
        f"settles them.{_deadline(found)}"
    )


_SENTENCES: Final[Mapping[Situation, Callable[[Sequence[Elsewhere]], str]]] = {
    Situation.AT_WORK: _describe_at_work,
    Situation.SILENT: _describe_silent,
    Situation.LEFT: _describe_left,
    Situation.UNDECIDED: _describe_undecided,
}


def _counted(found: Sequence[Elsewhere]) -> str:
    events = sum(one.events for one in found)
    return f"{events:,} stage change{' of this window is' if events == 1 else 's of this window are'}"


def _runs(found: Sequence[Elsewhere]) -> str:
    keys = list(dict.fromkeys(one.run_key for one in found))
    more = f" and {len(keys) - MAX_RUNS_NAMED} more" if len(keys) > MAX_RUNS_NAMED else ""
    return f"{'run' if len(keys) == 1 else 'the runs'} {', '.join(keys[:MAX_RUNS_NAMED])}{more}"


def _deadline(found: Sequence[Elsewhere]) -> str:
    moments = [one.sendable_until for one in found if one.sendable_until]
    return f" The oldest of them can be sent to Meta until {_shown(min(moments))}." if moments else ""


def _shown(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
