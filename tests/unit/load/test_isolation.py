"""Poisoned events are found with few requests, whatever Meta hints, and no good event is taken for one of them."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_to_meta.load.isolation import PROBES, Isolation, Suspect
from crm_to_meta.load.resume import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from crm_to_meta.load.isolation import Refusal

BAD = (100, 2804050)
OTHER = (100, 2804009)
VAGUE = (100, None)  # also what Meta answers to everything while a permission is missing
START = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass(slots=True)
class Meta:
    """Takes a request, or refuses it as a whole; keeps count, and what became of each event.

    Attributes:
        bad: the events at fault, with the refusal that each gets.
        hint: what Meta says where in a part the fault is.
        lost: the requests, counted from 1, that a missing permission meets.
    """

    bad: Mapping[int, Refusal]
    hint: Callable[[Part], int | None] = lambda _: None
    lost: Collection[int] = ()
    requests: list[Part] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    rejected: list[int] = field(default_factory=list)
    last_taken_at: datetime | None = None

    @property
    def now(self) -> datetime:
        """A clock that goes on by a second with each request."""
        return START + timedelta(seconds=len(self.requests))

    def refuse(self, part: Part) -> Refusal | None:
        """Return what Meta answers to a part, or None where it takes it."""
        if len(self.requests) in self.lost:
            return VAGUE
        return next((self.bad[index] for index in range(part.start, part.end) if index in self.bad), None)

    def serve(self, search: Isolation, most: int | None = None) -> None:
        """Answer until the search has nothing left, gives up, or made so many requests."""
        until = math.inf if most is None else len(self.requests) + most
        while len(self.requests) < until and not search.is_stuck and (part := search.next_part()) is not None:
            self.requests.append(part)
            refusal = self.refuse(part)
            if refusal is None:
                self.last_taken_at = self.now
                self.taken.extend(range(part.start, part.end))
                search.mark_delivered(part)
            elif part.size > 1:
                search.mark_refused(part, has_subcode=refusal[1] is not None, hint=self.hint(part))
            elif search.confirms(part, refusal):
                self.rejected.append(part.start)
            else:
                search.mark_refused_alone(
                    Suspect(part=part, refusal=refusal, request_id=len(self.requests), refused_at=self.now)
                )
            self.reject(search)

    def reject(self, search: Isolation) -> None:
        """Reject the suspects that are at fault beyond doubt."""
        self.rejected += [suspect.part.start for suspect in search.take_confirmed()]

    def finish(self, search: Isolation) -> None:
        """Do what is done where nothing of a chunk is left to send."""
        if search.is_done:
            search.finish()
            self.reject(search)

    def first_bad(self, part: Part) -> int | None:
        """Name the first event at fault, as Meta does."""
        return min((index for index in self.bad if part.start <= index < part.end), default=part.start) - part.start


def isolate(events: int, bad: Mapping[int, Refusal], hint: Callable[[Part], int | None] | None = None) -> Meta:
    """Search a chunk to its end; whenever it is given up, Meta takes another chunk's request."""
    meta, search = Meta(bad, *([hint] if hint else [])), Isolation([Part(0, events)])
    meta.serve(search)
    meta.finish(search)
    while search.look_again(meta.now + timedelta(seconds=1)):
        meta.reject(search)
        meta.serve(search)
        meta.finish(search)
    return meta


def search_alone(meta: Meta, events: int) -> Isolation:
    """Search the only chunk there is to its end."""
    search = Isolation([Part(0, events)])
    meta.serve(search)
    meta.finish(search)
    return search


def bound(events: int, bad: int) -> float:
    """Return about 2 * k * log2(n), and what it costs to see that nothing, or everything, is at fault."""
    return 2 * bad * math.ceil(math.log2(events)) + 4


# Every event ends once, where it belongs ------------------------------------------------------------------------------


@given(events=st.integers(1, 120), data=st.data())
@settings(max_examples=2 * settings.default.max_examples)
def test_each_event_ends_once(events: int, data: st.DataObject) -> None:
    """Good events are taken once, those at fault are rejected once, with any hints, true, false or odd."""
    bad = data.draw(st.dictionaries(st.integers(0, events - 1), st.sampled_from([BAD, OTHER, VAGUE])))
    hints = data.draw(st.lists(st.none() | st.integers(0, 130), min_size=1, max_size=8))
    rng = random.Random(0)  # noqa: S311 - a test's own choice
    meta = isolate(events, bad, lambda _: rng.choice(hints))

    assert sorted(meta.rejected) == sorted(bad)
    assert sorted(meta.taken) == sorted(set(range(events)) - bad.keys())


@given(
    events=st.integers(2, 1000),
    seed=st.integers(0, 1000),
    number=st.integers(0, 12),
    refusal=st.sampled_from([BAD, VAGUE]),
    has_hints=st.booleans(),
)
@settings(max_examples=2 * settings.default.max_examples)
def test_few_requests_are_enough(
    events: int,
    seed: int,
    number: int,
    refusal: Refusal,
    has_hints: bool,  # noqa: FBT001 - drawn
) -> None:
    """About 2 * k * log2(n) requests for k events at fault of n, and one more for each where no subcode names them."""
    rng = random.Random(seed)  # noqa: S311 - a test's own choice
    bad = dict.fromkeys(rng.sample(range(events), min(events, number)), refusal)
    meta = Meta(bad)
    if has_hints:
        meta.hint = meta.first_bad
    search = search_alone(meta, events)

    second_looks = len(bad) if refusal is VAGUE else 0
    assert search.is_stuck or len(meta.requests) <= bound(events, len(bad)) + second_looks


# Whose fault it is ----------------------------------------------------------------------------------------------------


@given(
    sizes=st.lists(st.integers(1, 45), min_size=1, max_size=4),
    lost_from=st.integers(1, 150),
    lost_for=st.integers(0, 400),
    turns=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 12)), max_size=30),
    data=st.data(),
)
@settings(max_examples=2 * settings.default.max_examples)
def test_no_good_event_is_ever_rejected(
    sizes: Sequence[int],
    lost_from: int,
    lost_for: int,
    turns: Sequence[tuple[int, int]],
    data: st.DataObject,
) -> None:
    """Chunks are sent in turns, and at any moment a permission goes, for a while or for good: only poison is rejected.

    Whatever Meta takes of other chunks, and whenever a chunk that was put aside is gone on with.
    """
    lost = range(lost_from, lost_from + lost_for)
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    bad = data.draw(st.dictionaries(st.integers(0, sum(sizes) - 1), st.sampled_from([BAD, OTHER, VAGUE]), max_size=12))
    meta = Meta(bad, lost=lost)
    chunks = [Isolation([Part(start, start + size)]) for start, size in zip(starts, sizes, strict=True)]
    for number, most in turns:
        meta.serve(chunks[number % len(chunks)], most)
    for search in chunks:
        meta.serve(search)
        meta.finish(search)
    while (taken_at := meta.last_taken_at) and sum(search.look_again(taken_at) for search in chunks):
        for search in chunks:
            meta.reject(search)
            meta.serve(search)
            meta.finish(search)

    assert set(meta.rejected) <= bad.keys()
    assert max(Counter([*meta.rejected, *meta.taken]).values(), default=0) <= 1


@given(
    events=st.integers(2, 200),
    subcodes=st.dictionaries(st.integers(0, 199), st.sampled_from([BAD, OTHER]), max_size=8),
    hints=st.booleans(),
)
def test_events_whose_fault_meta_names_are_rejected_without_help(
    events: int,
    subcodes: Mapping[int, Refusal],
    hints: bool,  # noqa: FBT001 - drawn
) -> None:
    """Poisoned events with a subcode, first, last, neighbours or all of a few, need no witness outside their chunk."""
    meta = Meta({index: refusal for index, refusal in subcodes.items() if index < events})
    if hints:
        meta.hint = meta.first_bad
    search_alone(meta, events)

    assert sorted(meta.rejected) == sorted(meta.bad)
    assert sorted(meta.taken) == sorted(set(range(events)) - meta.bad.keys())


@given(events=st.integers(2, 1000), place=st.integers(0, 999))
def test_one_vague_refusal_among_good_events_is_confirmed_by_them(events: int, place: int) -> None:
    """A lone event that is refused without a subcode is rejected, also as the very last request: all others arrived."""
    bad = place % events
    meta = Meta({bad: VAGUE})
    search = search_alone(meta, events)

    assert meta.rejected == [bad]
    assert search.suspects == []
    assert len(meta.requests) <= bound(events, 1) + 1


@pytest.mark.parametrize("lost_from", [2, 3, 5, 8])
def test_permission_that_goes_in_the_midst_of_a_search_rejects_nothing(lost_from: int) -> None:
    """What was taken before the permission went proves nothing, and the search is given up soon."""
    meta = Meta({137: BAD}, lost=range(lost_from, 10_000))
    search = search_alone(meta, 1000)

    assert meta.rejected in ([], [137])
    assert search.is_stuck
    assert len(meta.requests) <= 4 * PROBES


def test_permission_that_came_back_delivers_what_was_refused_alone() -> None:
    """Events that were refused while the permission was gone are sent once more before they are called rejected."""
    meta = Meta({}, lost=range(1, 22))
    search = search_alone(meta, 100)
    assert (search.is_stuck, len(search.suspects)) == (True, PROBES)

    assert search.look_again(meta.now + timedelta(seconds=1))
    meta.serve(search)

    assert meta.rejected == []
    assert sorted(meta.taken) == list(range(100))


def test_two_refusals_of_different_kind_confirm_none_without_a_subcode() -> None:
    """A fault that Meta names shows nothing about one that it does not name."""
    meta = Meta({0: BAD, 1: VAGUE})
    search = search_alone(meta, 2)

    assert meta.rejected == [0]
    assert [suspect.part.start for suspect in search.suspects] == [1]


def test_event_that_was_taken_without_its_lead_id_clears_no_other() -> None:
    """A part may have been refused for that very lead id: its other event is not at fault by elimination."""
    search = Isolation([Part(0, 2)])
    search.mark_refused(Part(0, 2), has_subcode=False)
    search.mark_delivered(Part(0, 1, without_lead_id=True))

    assert not search.confirms(Part(1, 2), VAGUE)


def test_witness_from_before_a_refusal_is_none() -> None:
    """A request that was under way when an event was refused says nothing about it."""
    meta = Meta({0: VAGUE})
    search = search_alone(meta, 1)
    (suspect,) = search.suspects

    assert not search.look_again(suspect.refused_at)
    assert not search.look_again(suspect.refused_at - timedelta(seconds=1))
    assert search.look_again(suspect.refused_at + timedelta(microseconds=1))


@pytest.mark.parametrize(("refusal", "rejected"), [(BAD, 60), (VAGUE, 0)])
def test_later_try_goes_on_where_an_earlier_one_rejected(refusal: Refusal, rejected: int) -> None:
    """A chunk of bad events is put aside in each try; rejections on record stand for the request that Meta took."""
    meta = Meta(dict.fromkeys(range(60), refusal))
    search = Isolation([Part(0, 60)], has_rejections=True)
    meta.serve(search)
    assert search.is_stuck

    search.look_again(START)
    meta.reject(search)
    meta.serve(search)

    assert len(meta.rejected) == rejected


# Hints ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 5, 20])
def test_true_hints_spare_the_search(number: int) -> None:
    """With Meta's own word where the fault is, each event at fault costs a handful of requests."""
    rng = random.Random(number)  # noqa: S311 - a test's own choice
    meta = Meta(dict.fromkeys(rng.sample(range(1000), number), BAD))
    meta.hint = meta.first_bad
    search_alone(meta, 1000)

    assert sorted(meta.rejected) == sorted(meta.bad)
    assert len(meta.requests) <= 4 * number + 4


@pytest.mark.parametrize("lie", [0, 999, 5000], ids=["always the first", "always the last", "beyond the request"])
def test_false_hints_cost_one_event_and_reject_none(lie: int) -> None:
    """A hint that proves wrong is the last one that counts in this chunk; nothing good is rejected."""
    meta = isolate(1000, dict.fromkeys([317, 640], BAD), lambda part: min(lie, part.size - 1) if lie < 5000 else lie)

    assert sorted(meta.rejected) == [317, 640]
    assert len(meta.requests) <= bound(1000, 2) + 4


# Everything is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refusal", [BAD, VAGUE])
@pytest.mark.parametrize("hints", [False, True])
@pytest.mark.parametrize("events", [PROBES, 25, 1000])
def test_a_chunk_in_which_everything_is_refused_is_recognised_early(
    events: int,
    hints: bool,  # noqa: FBT001
    refusal: Refusal,
) -> None:
    """The whole and twenty single events, spread over it: not a thousand requests, and no rejection."""
    meta = Meta(dict.fromkeys(range(events), refusal))
    if hints:
        meta.hint = meta.first_bad
    search = search_alone(meta, events)

    assert search.is_stuck
    assert search.open_events == events
    assert len(meta.requests) == 1 + PROBES
    assert meta.rejected == meta.taken == []


@pytest.mark.parametrize("refusal", [BAD, VAGUE])
@pytest.mark.parametrize("first", [0, 300, 600])
def test_an_import_that_went_wrong_does_not_pass_for_everything(first: int, refusal: Refusal) -> None:
    """Neighbouring bad events, however many, are no sign of the rest: single events are tried all over the chunk."""
    bad = range(first, first + 400)
    meta = Meta(dict.fromkeys(bad, refusal))
    search = search_alone(meta, 1000)

    assert sorted(meta.taken) == sorted(set(range(1000)) - set(bad))
    assert set(meta.rejected) <= set(bad)
    if refusal == BAD:
        assert not search.is_stuck
        assert sorted(meta.rejected) == list(bad)


def test_refusals_for_different_reasons_are_about_the_events() -> None:
    """What all events have in common has one reason."""
    meta = Meta({index: (BAD if index % 2 else OTHER) for index in range(100)})
    search_alone(meta, 100)

    assert sorted(meta.rejected) == list(range(100))


@pytest.mark.parametrize(("refusal", "rejected"), [(BAD, PROBES - 1), (VAGUE, 0)])
def test_few_events_are_rejected_for_what_meta_names_alone(refusal: Refusal, rejected: int) -> None:
    """A quiet Sunday's bad events are searched one by one; without a subcode it may still be a permission."""
    meta = Meta(dict.fromkeys(range(PROBES - 1), refusal))
    search = search_alone(meta, PROBES - 1)

    assert not search.is_stuck
    assert (len(meta.rejected), len(search.suspects)) == (rejected, PROBES - 1 - rejected)


def test_many_events_in_small_parts_are_not_rejected_alike() -> None:
    """What an earlier try left open in small pieces is judged as a whole: twenty alike need a word from outside."""
    meta = Meta(dict.fromkeys(range(100), BAD))
    search = Isolation([Part(start, start + 3) for start in range(0, 100, 4)])
    meta.serve(search)
    meta.finish(search)

    assert meta.rejected == []
    assert len(meta.requests) <= 3 * PROBES


@pytest.mark.parametrize(("refusal", "rejected"), [(BAD, 30), (VAGUE, 0)])
def test_a_chunk_of_which_meta_took_something_before_is_searched_at_once(refusal: Refusal, rejected: int) -> None:
    """A later try of a task trusts the faults that Meta names where the record shows a delivery, and no others."""
    meta = Meta(dict.fromkeys(range(30), refusal))
    meta.serve(Isolation([Part(0, 30)], trusts_subcodes=True))

    assert len(meta.rejected) == rejected


# What was not processed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 7])
def test_halves_of_what_was_too_much_go_next(size: int) -> None:
    """A single event stays whole; nothing is lost or doubled."""
    search = Isolation([Part(0, size), Part(size, size + 5)])
    first = search.next_part()
    assert first is not None
    search.send_halves(first)
    parts = list(iter(search.next_part, None))

    assert [index for part in parts for index in range(part.start, part.end)] == list(range(size + 5))


def start_probing() -> tuple[Isolation, Part]:
    """Have a hundred events refused as a whole; return the search and its first single event."""
    search = Isolation([Part(0, 100)])
    whole = search.next_part()
    assert whole is not None
    search.mark_refused(whole, has_subcode=True)
    probe = search.next_part()
    assert probe is not None
    return search, probe


def test_a_probe_that_was_not_processed_is_not_forgotten() -> None:
    """An event whose request failed in between is sent with its neighbours once the search goes on."""
    search, probe = start_probing()
    search.send_again(probe)
    search.finish()
    parts = list(iter(search.next_part, None))

    assert [index for part in parts for index in range(part.start, part.end)] == list(range(100))


def test_the_second_try_without_lead_id_outlives_the_probing() -> None:
    """An event that is to go out without its lead id does, when the search goes on."""
    search, probe = start_probing()
    search.send_again(probe._replace(without_lead_id=True))
    search.finish()

    assert search.next_part() == probe._replace(without_lead_id=True)
    rest = [index for part in iter(search.next_part, None) for index in range(part.start, part.end)]
    assert rest == [index for index in range(100) if index != probe.start]
