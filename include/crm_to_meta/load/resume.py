"""How a chunk is resumed: by its requests on record, which parts of it are still to be sent.

Pure, so that any crash can be replayed in a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from crm_to_meta.meta.answers import SUBCODE_LEAD_UNKNOWN
from crm_to_meta.models import RequestOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable


class Part(NamedTuple):
    """Events `start` to `end` (not included) of a chunk; `without_lead_id` is the second try of a single event."""

    start: int
    end: int
    without_lead_id: bool = False

    @property
    def size(self) -> int:
        """Return how many events the part holds."""
        return self.end - self.start

    def halves(self) -> tuple[Part, Part]:
        """Return the two halves of a part that was refused as a whole."""
        middle = self.start + self.size // 2
        return Part(self.start, middle), Part(middle, self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRequest:
    """A request of this chunk that is on record."""

    part: Part
    outcome: RequestOutcome
    subcode: int | None = None


class State(IntEnum):
    """What is known of one event of a chunk."""

    OPEN = 0
    OPEN_WITHOUT_LEAD_ID = 1
    SETTLED = 2
    IN_DOUBT = 3


def event_states(events: int, past: Iterable[PastRequest], *, can_drop_lead_id: Iterable[int] = ()) -> list[State]:
    """Return the state of each event of a chunk after the requests on record, oldest first.

    Args:
        events: how many events the chunk has.
        past: its recorded requests in the order they were sent.
        can_drop_lead_id: events that, refused for their lead id, can be tried once more without it.
    """
    droppable = frozenset(can_drop_lead_id)
    states = [State.OPEN] * events
    for request in past:
        part = request.part
        if request.outcome is RequestOutcome.PAYLOAD_REFUSED and part.size > 1:
            continue  # its halves have requests of their own
        if request.outcome is RequestOutcome.DELIVERED:
            after = State.SETTLED
        elif request.outcome is RequestOutcome.PAYLOAD_REFUSED:
            is_lead_unknown = request.subcode == SUBCODE_LEAD_UNKNOWN and not part.without_lead_id
            tries_again = is_lead_unknown and part.start in droppable
            after = State.OPEN_WITHOUT_LEAD_ID if tries_again else State.SETTLED
        elif request.outcome is RequestOutcome.IN_DOUBT:
            after = State.IN_DOUBT
        else:  # nothing was processed, or a refusal is not confirmed
            continue
        for index in range(part.start, part.end):
            if states[index] is not State.SETTLED:
                states[index] = after
    return states


def open_parts(states: Iterable[State], *, resend_in_doubt: bool) -> list[Part]:
    """Return the runs of neighbouring events that still have to be sent, in order."""
    parts: list[Part] = []
    position = 0
    for state, run in groupby(states):
        start, position = position, position + sum(1 for _ in run)
        match state:
            case State.OPEN_WITHOUT_LEAD_ID:
                parts += [Part(index, index + 1, without_lead_id=True) for index in range(start, position)]
            case State.OPEN:
                parts.append(Part(start, position))
            case State.IN_DOUBT if resend_in_doubt:
                parts.append(Part(start, position))
    return parts
