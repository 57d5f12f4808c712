"""Which part of a chunk is sent next, so that events at fault end up alone: Meta's answers in, parts out. Pure.

Meta refuses a request as a whole. A refused part is cut in halves, or around the event that Meta's hint names; k bad of
n events cost about 2 * k * log2(n) requests. Where nothing of a chunk was taken yet, single events spread over the
refused part go first: `PROBES` of them refused alike mean that the fault is hardly in single events (docs/adr/0006).
Until Meta took something, or refused for different reasons, no refusal is believed: suspects are no rejections.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

from crm_to_meta.chunk_progress import Part

if TYPE_CHECKING:
    from collections.abc import Iterable

PROBES: Final = 20  # where one event in five is sound, 99 chunks of 100 show it within so many

Refusal = tuple[int | None, int | None]  # Meta's code and subcode


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """An event that was refused alone, with the request that says so."""

    part: Part
    refusal: Refusal
    request_id: int
    fbtrace_id: str | None = None


class Isolation:
    """The search in one chunk. Each part that comes out is sent, and what became of it comes back in."""

    def __init__(self, parts: Iterable[Part], *, is_believed: bool) -> None:
        """Start with the parts that are open, in order.

        Args:
            parts: what is to be sent.
            is_believed: Meta took other events of this chunk before, so a refusal is about the event that it met.
        """
        self.is_believed = is_believed
        self.suspects: list[Suspect] = []
        self._todo = deque(parts)
        self._probed: Part | None = None  # the part of which single events are tried
        self._tried: set[int] = set()
        self._hinted: set[int] = set()
        self._trusts_hints = True

    @property
    def is_uniform(self) -> bool:
        """Say whether so many events were refused alike, and nothing taken, that going on is pointless for now."""
        return not self.is_believed and len(self.suspects) >= PROBES

    @property
    def is_done(self) -> bool:
        """Say whether nothing is left to send."""
        return not self._todo and self._probed is None

    def next_part(self) -> Part | None:
        """Return what to send next; None where nothing is left."""
        if not self._todo:
            self._leave_probing()
        part = self._todo.popleft() if self._todo else None
        if part is not None and part.size == 1:
            self._tried.add(part.start)
        return part

    def send_again(self, part: Part) -> None:
        """Put a part back that was not processed, or whose lead id is to be left out: it goes next."""
        if not part.without_lead_id:
            self._tried.discard(part.start)
        self._todo.appendleft(part)

    def send_halves(self, part: Part) -> list[Part]:
        """Put a part back in halves, which go next; return them. A single event stays whole."""
        halves = [half for half in part.halves() if half.size]
        for half in reversed(halves):
            self.send_again(half)
        return halves

    def taken(self, part: Part) -> None:
        """Meta took a part: what it refuses is about single events."""
        if part.size == 1 and part.start in self._hinted and not part.without_lead_id:
            self._trusts_hints = False  # it named a sound event: from here on only halves count
        self.believe()

    def refused(self, part: Part, *, hint: int | None = None) -> None:
        """Meta refused a part of several events; `hint` is the place in it that Meta names."""
        hinted = part.start + hint if hint is not None and hint < part.size and self._trusts_hints else None
        if hinted is not None:
            self._hinted.add(hinted)
        if not self.is_believed and self._probed is None and part.size >= PROBES:
            self._start_probing(part, hinted)
        elif hinted is not None:
            around = [Part(hinted, hinted + 1), Part(part.start, hinted), Part(hinted + 1, part.end)]
            self._todo.extendleft(reversed([piece for piece in around if piece.size]))
        else:
            self.send_halves(part)

    def refused_alone(self, suspect: Suspect) -> None:
        """Meta refused a single event, and there is nothing else to try with it."""
        self.suspects.append(suspect)
        if len({known.refusal for known in self.suspects}) > 1:
            self.believe()

    def believe(self) -> None:
        """Take each refusal for what it says: the event is at fault. The suspects are the caller's to reject."""
        self.is_believed = True
        self._leave_probing()

    def _start_probing(self, part: Part, hinted: int | None) -> None:
        middle_first = [*range(PROBES // 2, PROBES), *range(PROBES // 2)]  # what is left of it are halves
        spread = [part.start + part.size * (2 * number + 1) // (2 * PROBES) for number in middle_first]
        places = [*([] if hinted is None else [hinted]), *(place for place in spread if place != hinted)]
        self._probed = part
        self._todo.extendleft(Part(place, place + 1) for place in reversed(places[:PROBES]))

    def _leave_probing(self) -> None:
        """Go on with what lies between the single events that were tried."""
        if self._probed is None:
            return
        probed, self._probed = self._probed, None
        within = range(probed.start, probed.end)
        second_tries = [part for part in self._todo if part.start in within and part.without_lead_id]
        between = _ranges(index for index in within if index not in self._tried)
        others = [part for part in self._todo if part.start not in within]
        self._todo = deque([*second_tries, *between, *others])


def _ranges(indexes: Iterable[int]) -> list[Part]:
    """Return the runs of neighbours."""
    runs = [[index for _, index in run] for _, run in groupby(enumerate(indexes), key=lambda pair: pair[1] - pair[0])]
    return [Part(run[0], run[-1] + 1) for run in runs]
