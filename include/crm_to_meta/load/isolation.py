"""Isolation decides which part of a chunk is sent next, so that events at fault end up alone. Pure.

Meta refuses a request as a whole. A refused part is cut in halves, or around the event that Meta names; k bad of n
events cost about 2 * k * log2(n) requests. Where nothing of a chunk was taken yet, single events spread over the
refused part go first: `PROBES` of them refused alike mean that the fault is hardly in single events.

An event that was refused alone is a suspect until its refusal is confirmed (docs/adr/0008). With a subcode Meta names a
fault of the event: it is enough that anything of the chunk was taken, or refused for another reason. Without a subcode
the refusal may be about a permission that is gone by now, and only what Meta takes *afterwards* tells the two apart.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

from crm_to_meta.load.resume import Part

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

PROBES: Final = 20  # where one event in five is sound, 99 chunks of 100 show it within so many

Refusal = tuple[int | None, int | None]  # Meta's code and subcode


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """An event that was refused alone, with the request that says so and the moment its answer was written down."""

    part: Part
    refusal: Refusal
    request_id: int
    refused_at: datetime
    fbtrace_id: str | None = None

    @property
    def has_subcode(self) -> bool:
        """Say whether Meta named a fault of the event."""
        return self.refusal[1] is not None


class Isolation:
    """The search in one chunk. Each part that comes out is sent, and what became of it is told before the next one."""

    def __init__(self, parts: Iterable[Part], *, trusts_subcodes: bool = False, has_rejections: bool = False) -> None:
        """Start with the parts that are open, in order.

        Args:
            parts: what is to be sent.
            trusts_subcodes: Meta took other events of this chunk before, so a fault that it names is the event's own.
            has_rejections: an earlier try rejected events for a fault that Meta named: a chunk that is put aside needs
                no other proof to be gone on with.
        """
        # What is sent next.
        self._todo = deque(parts)
        self._probed: Part | None = None  # the range that was probed since Meta last took something
        self._refused_in_a_row = 0  # single events, since Meta last took something or probing began
        self._hinted: set[int] | None = set()  # events that Meta named; None once it named a sound one
        # Whose fault a refusal is. Probing does not hang on it: it may begin anew after Meta took something.
        self.suspects: list[Suspect] = []  # refused alone, and nothing that Meta took afterwards speaks against them
        self._trusts_subcodes = trusts_subcodes
        self._has_rejections = has_rejections
        self._taken: set[int] = set()
        self._refused_parts: list[Part] = []  # of several events, without a subcode
        self._second_looks: set[Part] = set()  # refused without a subcode, before a request that Meta took

    @property
    def is_stuck(self) -> bool:
        """Say whether so many events were refused, and none taken, that going on is pointless for now."""
        return self._probed is not None and self._refused_in_a_row >= PROBES

    @property
    def is_done(self) -> bool:
        """Say whether nothing is left to send."""
        return not self._todo

    @property
    def open_events(self) -> int:
        """Return how many events are not settled: still to be sent, or refused and not confirmed."""
        return sum(part.size for part in self._todo) + len(self.suspects)

    def next_part(self) -> Part | None:
        """Return what to send next; None where nothing is left."""
        return self._todo.popleft() if self._todo else None

    # What became of a part ------------------------------------------------------------------------------------------

    def send_again(self, part: Part) -> None:
        """Put a part back that was not processed, or whose lead id is to be left out: it goes next."""
        self._todo.appendleft(part)

    def send_halves(self, part: Part) -> list[Part]:
        """Put a part back in halves, which go next; return them. A single event stays whole."""
        halves = [half for half in part.halves() if half.size]
        self._todo.extendleft(reversed(halves))
        return halves

    def mark_delivered(self, part: Part) -> None:
        """Meta took a part: until now its refusals were about single events. Those without a subcode are sent again."""
        if not part.without_lead_id:  # else an earlier refusal may have been about the lead id
            self._taken.update(range(part.start, part.end))
            if part.size == 1 and self._hinted and part.start in self._hinted:
                self._hinted = None  # it named a sound event: from here on only halves count
        self._trust_subcodes()
        self._todo.extend(self._take_witnessed(self.suspects))

    def mark_refused(self, part: Part, *, has_subcode: bool, hint: int | None = None) -> None:
        """Meta refused a part of several events; `hint` is the place in it that Meta names."""
        if not has_subcode:
            self._refused_parts.append(part)
        hinted = part.start + hint if hint is not None and hint < part.size and self._hinted is not None else None
        if hinted is not None and self._hinted is not None:
            self._hinted.add(hinted)
        if not self._trusts_subcodes and self._probed is None and part.size >= PROBES:
            self._start_probing([part], hinted)
        elif hinted is not None:
            around = [Part(hinted, hinted + 1), Part(part.start, hinted), Part(hinted + 1, part.end)]
            self._todo.extendleft(reversed([piece for piece in around if piece.size]))
        else:
            self.send_halves(part)

    def mark_refused_alone(self, suspect: Suspect) -> None:
        """Meta refused a single event, there is nothing else to try with it, and `confirms` says no."""
        self.suspects.append(suspect)
        self._refused_in_a_row += 1
        if len({known.refusal for known in self.suspects}) > 1:
            self._trust_subcodes()
        if self._refused_in_a_row == PROBES and self._probed is None:
            open_parts = [part for part in self._todo if not self._stays_alone(part)]
            if sum(part.size for part in open_parts) >= PROBES:  # do not let a block of bad neighbours hide the rest
                self._todo = deque(part for part in self._todo if self._stays_alone(part))
                self._start_probing(open_parts)

    # Whether a refusal is the event's own fault ---------------------------------------------------------------------

    def confirms(self, part: Part, refusal: Refusal) -> bool:
        """Say whether a single event that was refused just now is at fault beyond doubt.

        Without a subcode: it was refused before, alone or in a part of which everything else was taken since; and then
        Meta took something, so it was no permission that was missing at that time.
        """
        if refusal[1] is not None:
            return self._trusts_subcodes
        others = (
            set(range(refused.start, refused.end)) - {part.start}
            for refused in self._refused_parts
            if refused.start <= part.start < refused.end and not part.without_lead_id
        )
        return part in self._second_looks or any(events <= self._taken for events in others)

    def take_confirmed(self) -> list[Suspect]:
        """Return the suspects that are at fault beyond doubt; they are the caller's to reject."""
        confirmed = [suspect for suspect in self.suspects if suspect.has_subcode and self._trusts_subcodes]
        self.suspects = [suspect for suspect in self.suspects if suspect not in confirmed]
        return confirmed

    def finish(self) -> None:
        """Nothing is left to send: where few were refused with a subcode, these are taken for what they say."""
        if len(self.suspects) < PROBES:
            self._trust_subcodes()

    def look_again(self, witness_sent_at: datetime) -> bool:
        """Go on with a chunk that was put aside, where Meta took another one's request meanwhile.

        Args:
            witness_sent_at: when the last request that Meta took was sent, by the clock of `Suspect.refused_at`.

        Returns:
            whether that changes anything.
        """
        earlier = [suspect for suspect in self.suspects if suspect.refused_at < witness_sent_at]
        is_proven = self._has_rejections or len(earlier) == len(self.suspects)
        trusts = not self._trusts_subcodes and bool(self.suspects) and is_proven
        if trusts:
            self._trust_subcodes()
        parts = self._take_witnessed(earlier)
        self._todo.extendleft(reversed(parts))
        return trusts or bool(parts)

    def _take_witnessed(self, suspects: list[Suspect]) -> list[Part]:
        """Have suspects without a subcode looked at once more: Meta took something after it refused them."""
        parts = [suspect.part for suspect in suspects if not suspect.has_subcode]
        if parts:
            self._leave_probing()
            self._second_looks.update(parts)
            self.suspects = [suspect for suspect in self.suspects if suspect.part not in parts]
        return parts

    def _trust_subcodes(self) -> None:
        self._trusts_subcodes = True
        self._leave_probing()

    # Single events spread over what was refused ---------------------------------------------------------------------

    def _start_probing(self, parts: list[Part], hinted: int | None = None) -> None:
        events = sorted(index for part in parts for index in range(part.start, part.end))
        middle_first = [*range(PROBES // 2, PROBES), *range(PROBES // 2)]  # what is left of it are halves
        spread = [events[len(events) * (2 * number + 1) // (2 * PROBES)] for number in middle_first]
        places = list(dict.fromkeys([*([] if hinted is None else [hinted]), *spread]))[:PROBES]
        between = _ranges(sorted(set(events) - set(places)))
        self._probed = Part(events[0], events[-1] + 1)
        self._refused_in_a_row = 0
        self._todo.extendleft(reversed([*(Part(place, place + 1) for place in places), *between]))

    def _leave_probing(self) -> None:
        """Go on with halves: what lies between the single events that were tried is put together again."""
        self._refused_in_a_row = 0
        if self._probed is None:
            return
        probed, self._probed = self._probed, None
        alone = [part for part in self._todo if self._stays_alone(part)]
        rest = [part for part in self._todo if not self._stays_alone(part)]
        within = [part for part in rest if probed.start <= part.start < probed.end]
        between = _ranges(sorted(index for part in within for index in range(part.start, part.end)))
        self._todo = deque([*alone, *between, *(part for part in rest if part not in within)])

    def _stays_alone(self, part: Part) -> bool:
        return part.without_lead_id or part in self._second_looks


def _ranges(indexes: Iterable[int]) -> list[Part]:
    """Return the runs of neighbours."""
    runs = [[index for _, index in run] for _, run in groupby(enumerate(indexes), key=lambda pair: pair[1] - pair[0])]
    return [Part(run[0], run[-1] + 1) for run in runs]
