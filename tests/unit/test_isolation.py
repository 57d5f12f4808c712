"""Poisoned events are found with few requests, whatever Meta hints; a chunk that is refused as such is told apart."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_to_meta.chunk_progress import Part
from crm_to_meta.isolation import PROBES, Isolation, Suspect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BAD = (100, 2804050)
OTHER = (100, 2804009)


@dataclass(slots=True)
class Meta:
    """Takes a request, or refuses it as a whole; keeps count, and what became of each event."""

    bad: Mapping[int, tuple[int, int]]
    hint: Callable[[Part], int | None] = lambda _: None
    requests: list[Part] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    rejected: list[int] = field(default_factory=list)

    def serve(self, search: Isolation) -> None:
        """Answer until the search has nothing left, or gives up."""
        while not search.is_uniform and (part := search.next_part()) is not None:
            self.requests.append(part)
            faults = [self.bad[index] for index in range(part.start, part.end) if index in self.bad]
            if not faults:
                self.taken.extend(range(part.start, part.end))
                search.taken(part)
            elif part.size > 1:
                search.refused(part, hint=self.hint(part))
            elif search.is_believed:
                self.rejected.append(part.start)
            else:
                search.refused_alone(Suspect(part=part, refusal=faults[0], request_id=len(self.requests)))
            if search.is_believed:
                self.reject(search)

    def reject(self, search: Isolation) -> None:
        """Reject the suspects."""
        self.rejected += [suspect.part.start for suspect in search.suspects]
        search.suspects.clear()

    def first_bad(self, part: Part) -> int | None:
        """Name the first event at fault, as Meta does."""
        return min((index for index in self.bad if part.start <= index < part.end), default=part.start) - part.start


def isolate(events: int, bad: Mapping[int, tuple[int, int]], hint: Callable[[Part], int | None] | None = None) -> Meta:
    """Search a chunk to its end; a chunk that looks uniform, or is too small to judge, is believed then."""
    meta, search = Meta(bad, *([hint] if hint else [])), Isolation([Part(0, events)], is_believed=False)
    meta.serve(search)
    search.believe()
    meta.reject(search)
    meta.serve(search)
    return meta


def bound(events: int, bad: int) -> float:
    """Return about 2 * k * log2(n), and what it costs to see that nothing, or everything, is at fault."""
    return 2 * bad * math.ceil(math.log2(events)) + 4


# Every event ends once, where it belongs ------------------------------------------------------------------------------


@given(events=st.integers(1, 120), data=st.data())
@settings(deadline=None, max_examples=400)
def test_each_event_ends_once(events: int, data: st.DataObject) -> None:
    """Sound events are taken once, those at fault are refused alone, with any hints, true, false or odd."""
    bad = data.draw(st.dictionaries(st.integers(0, events - 1), st.sampled_from([BAD, OTHER])))
    hints = data.draw(st.lists(st.none() | st.integers(0, 130), min_size=1, max_size=8))
    rng = random.Random(0)  # noqa: S311 - a test's own choice
    meta = isolate(events, bad, lambda _: rng.choice(hints))

    assert sorted(meta.rejected) == sorted(bad)
    assert sorted(meta.taken) == sorted(set(range(events)) - bad.keys())


@given(
    events=st.integers(2, 1000),
    seed=st.integers(0, 1000),
    number=st.integers(0, 12),
    has_hints=st.booleans(),
)
@settings(deadline=None, max_examples=300)
def test_few_requests_are_enough(events: int, seed: int, number: int, has_hints: bool) -> None:  # noqa: FBT001 - drawn
    """About 2 * k * log2(n) requests for k events at fault of n."""
    rng = random.Random(seed)  # noqa: S311 - a test's own choice
    bad = dict.fromkeys(rng.sample(range(events), min(events, number)), BAD)
    meta = Meta(bad)
    if has_hints:
        meta.hint = meta.first_bad
    search = Isolation([Part(0, events)], is_believed=False)
    meta.serve(search)

    assert search.is_uniform or len(meta.requests) <= bound(events, len(bad))


# Hints ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 5, 20])
def test_true_hints_spare_the_search(number: int) -> None:
    """With Meta's own word where the fault is, each event at fault costs a handful of requests."""
    rng = random.Random(number)  # noqa: S311 - a test's own choice
    meta = Meta(dict.fromkeys(rng.sample(range(1000), number), BAD))
    meta.hint = meta.first_bad
    meta.serve(Isolation([Part(0, 1000)], is_believed=False))

    assert sorted(meta.rejected) == sorted(meta.bad)
    assert len(meta.requests) <= 4 * number + 4


@pytest.mark.parametrize("lie", [0, 999, 5000], ids=["always the first", "always the last", "beyond the request"])
def test_false_hints_cost_one_event_and_reject_none(lie: int) -> None:
    """A hint that proves wrong is the last one that counts in this chunk; nothing sound is rejected."""
    meta = isolate(1000, dict.fromkeys([317, 640], BAD), lambda part: min(lie, part.size - 1) if lie < 5000 else lie)

    assert sorted(meta.rejected) == [317, 640]
    assert len(meta.requests) <= bound(1000, 2) + 4


# Everything is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hints", [False, True])
@pytest.mark.parametrize("events", [PROBES, 25, 1000])
def test_a_chunk_in_which_everything_is_refused_is_recognised_early(events: int, hints: bool) -> None:  # noqa: FBT001
    """The whole and twenty single events, spread over it: not a thousand requests, and no rejection."""
    meta = Meta(dict.fromkeys(range(events), BAD))
    if hints:
        meta.hint = meta.first_bad
    search = Isolation([Part(0, events)], is_believed=False)
    meta.serve(search)

    assert search.is_uniform
    assert len(meta.requests) == 1 + PROBES
    assert meta.rejected == meta.taken == []


def test_an_import_that_went_wrong_does_not_pass_for_everything() -> None:
    """Neighbouring bad events, however many, are no sign of the rest: single events are tried all over the chunk."""
    meta = Meta(dict.fromkeys(range(400), BAD))
    search = Isolation([Part(0, 1000)], is_believed=False)
    meta.serve(search)

    assert not search.is_uniform
    assert sorted(meta.rejected) == list(range(400))
    assert sorted(meta.taken) == list(range(400, 1000))


def test_refusals_for_different_reasons_are_about_the_events() -> None:
    """What all events have in common has one reason."""
    meta = Meta({index: (BAD if index % 2 else OTHER) for index in range(100)})
    search = Isolation([Part(0, 100)], is_believed=False)
    meta.serve(search)

    assert sorted(meta.rejected) == list(range(100))


def test_few_events_are_not_judged() -> None:
    """A quiet Sunday's events are searched one by one, and what was refused waits for the caller's word."""
    meta = Meta(dict.fromkeys(range(PROBES - 1), BAD))
    search = Isolation([Part(0, PROBES - 1)], is_believed=False)
    meta.serve(search)

    assert not search.is_uniform
    assert len(search.suspects) == PROBES - 1
    assert meta.rejected == []


def test_a_chunk_of_which_meta_took_something_before_is_searched_at_once() -> None:
    """A later try of a task believes the first refusal where the record shows a delivery."""
    meta = Meta(dict.fromkeys(range(30), BAD))
    meta.serve(Isolation([Part(0, 30)], is_believed=True))

    assert sorted(meta.rejected) == list(range(30))


# What was not processed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 7])
def test_halves_of_what_was_too_much_go_next(size: int) -> None:
    """A single event stays whole; nothing is lost or doubled."""
    search = Isolation([Part(0, size), Part(size, size + 5)], is_believed=False)
    first = search.next_part()
    assert first is not None
    search.send_halves(first)
    parts = list(iter(search.next_part, None))

    assert [index for part in parts for index in range(part.start, part.end)] == list(range(size + 5))


def start_probing() -> tuple[Isolation, Part]:
    """Have a hundred events refused as a whole; return the search and its first single event."""
    search = Isolation([Part(0, 100)], is_believed=False)
    whole = search.next_part()
    assert whole is not None
    search.refused(whole)
    probe = search.next_part()
    assert probe is not None
    return search, probe


def test_a_probe_that_was_not_processed_is_not_forgotten() -> None:
    """An event whose request failed in between is sent with its neighbours once the search goes on."""
    search, probe = start_probing()
    search.send_again(probe)
    search.believe()
    parts = list(iter(search.next_part, None))

    assert [index for part in parts for index in range(part.start, part.end)] == list(range(100))


def test_the_second_try_without_lead_id_outlives_the_probing() -> None:
    """An event that is to go out without its lead id does, when the search goes on."""
    search, probe = start_probing()
    search.send_again(probe._replace(without_lead_id=True))
    search.believe()

    assert search.next_part() == probe._replace(without_lead_id=True)
    rest = [index for part in iter(search.next_part, None) for index in range(part.start, part.end)]
    assert rest == [index for index in range(100) if index != probe.start]
