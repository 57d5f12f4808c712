"""Word what is in doubt: which events, until when they can be settled, and what becomes of them by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from crm_to_meta.meta.limits import META_DEDUPLICATION_WINDOW
from crm_to_meta.report.headline import moment_in_words

if TYPE_CHECKING:
    from datetime import datetime

    from crm_to_meta.ledger.doubts import RunInDoubt
    from crm_to_meta.pipeline.settings import Pipeline
    from crm_to_meta.report.overview import Overview


class Doubt(NamedTuple):
    """Events of a run that are in doubt, with what becomes of them if nobody decides.

    `waits` says that they wait for a decision: no run sends them again by itself.
    """

    run_key: str
    events: int
    sent: str
    deadline: str
    fate: str
    waits: bool


def find_doubts(overview: Overview) -> list[Doubt]:
    """Return the events in doubt by run, with their deadline."""
    return [describe_doubt(overview.pipeline, run, now=overview.read_at) for run in overview.doubts]


def describe_doubt(pipeline: Pipeline, run: RunInDoubt, *, now: datetime) -> Doubt:
    """Say of a run's events in doubt until when they can be settled, and what becomes of them by itself."""
    delivery = pipeline.delivery
    deadline = run.oldest_event_at + delivery.max_event_age if run.oldest_event_at else None
    resent_until = run.last_doubted_at + META_DEDUPLICATION_WINDOW
    waits = True
    if deadline and deadline <= now:
        fate = "The oldest of them is too old for Meta now: it can be recorded as arrived, but not be sent again."
    elif delivery.on_in_doubt == "resend" and resent_until > now:
        fate = f"The next run sends them again by itself, until {moment_in_words(resent_until)}. You need not decide."
        waits = False
    else:
        fate = "No run sends them again until you decide."
    return Doubt(
        run_key=run.run_key,
        events=run.events,
        sent=moment_in_words(run.last_doubted_at),
        deadline=moment_in_words(deadline) if deadline else "",
        fate=fate,
        waits=waits,
    )
