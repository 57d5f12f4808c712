"""Any crash can be replayed: every history of requests tells what is settled and what is still to be sent."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from crm_to_meta.load.resume import Part, PastRequest, State, event_states, open_parts
from crm_to_meta.meta.answers import SUBCODE_LEAD_UNKNOWN, SUBCODE_TOO_OLD
from crm_to_meta.models import RequestOutcome

if TYPE_CHECKING:
    from collections.abc import Sequence

OPEN, OPEN_WITHOUT_LEAD_ID, SETTLED, IN_DOUBT = State
NOTHING_HAPPENED = ["not_processed", "rate_limited", "stopped", "sending"]


def request(start: int, end: int, outcome: str, subcode: int | None = None, *, without: bool = False) -> PastRequest:
    """Return a request on record."""
    part = Part(start, end, without_lead_id=without)
    return PastRequest(part=part, outcome=RequestOutcome(outcome), subcode=subcode)


# --- Parts ------------------------------------------------------------------------------------------------------------


@given(start=st.integers(0, 1000), size=st.integers(2, 1000))
def test_halves_make_up_the_whole(start: int, size: int) -> None:
    """Neither half is empty, they meet, and they are as long as each other, or almost."""
    first, second = Part(start, start + size).halves()

    assert (first.start, second.end) == (start, start + size)
    assert first.end == second.start
    assert {first.size, second.size} <= {size // 2, size // 2 + size % 2}
    assert first.size >= 1


@given(states=st.lists(st.sampled_from(State)), resend=st.booleans())
def test_open_parts_hold_exactly_what_is_open(states: list[State], resend: bool) -> None:  # noqa: FBT001 - drawn
    """Each open event is in one part, in order; what is settled or held in doubt is in none."""
    parts = open_parts(states, resend_in_doubt=resend)

    is_sent = {OPEN: True, OPEN_WITHOUT_LEAD_ID: True, SETTLED: False, IN_DOUBT: resend}
    assert [index for part in parts for index in range(part.start, part.end)] == [
        index for index, state in enumerate(states) if is_sent[state]
    ]
    assert all(one.end <= other.start for one, other in pairwise(parts))


def test_events_without_lead_id_stand_alone() -> None:
    """The second try is about one event; neighbours are not packed with it."""
    states = [OPEN_WITHOUT_LEAD_ID, OPEN_WITHOUT_LEAD_ID, OPEN, OPEN]

    assert open_parts(states, resend_in_doubt=True) == [
        Part(0, 1, without_lead_id=True),
        Part(1, 2, without_lead_id=True),
        Part(2, 4),
    ]


def test_an_event_in_doubt_is_not_packed_with_one_that_was_never_sent() -> None:
    """What may be a duplicate is counted apart from what cannot be one."""
    assert open_parts([OPEN, IN_DOUBT, IN_DOUBT, OPEN], resend_in_doubt=True) == [Part(0, 1), Part(1, 3), Part(3, 4)]


# --- States -----------------------------------------------------------------------------------------------------------


def test_a_chunk_without_requests_is_open() -> None:
    """Nothing was sent, so everything is to be sent."""
    assert event_states(3, []) == [OPEN] * 3


@pytest.mark.parametrize(
    ("past", "states"),
    [
        pytest.param([request(0, 4, "delivered")], [SETTLED] * 4, id="delivered"),
        pytest.param([request(0, 4, "payload_refused", 2804003)], [OPEN] * 4, id="refused as a whole"),
        pytest.param([request(1, 2, "payload_refused", 2804003)], [OPEN, SETTLED, OPEN, OPEN], id="refused alone"),
        pytest.param([request(0, 4, "in_doubt")], [IN_DOUBT] * 4, id="no answer"),
        *(pytest.param([request(0, 4, outcome)], [OPEN] * 4, id=outcome) for outcome in NOTHING_HAPPENED),
        pytest.param(
            [request(0, 4, "payload_refused", 100), request(0, 2, "delivered"), request(2, 4, "payload_refused", 100)],
            [SETTLED, SETTLED, OPEN, OPEN],
            id="bisecting, half way",
        ),
        pytest.param([request(0, 4, "in_doubt"), request(0, 4, "delivered")], [SETTLED] * 4, id="doubt is resolved"),
        pytest.param(
            [request(0, 4, "in_doubt"), request(0, 4, "not_processed")], [IN_DOUBT] * 4, id="doubt outlasts a failure"
        ),
        pytest.param(
            [request(0, 4, "in_doubt"), request(0, 4, "payload_refused", 100), request(0, 2, "delivered")],
            [SETTLED, SETTLED, IN_DOUBT, IN_DOUBT],
            id="doubt outlasts bisecting",
        ),
        pytest.param([request(0, 4, "delivered"), request(0, 4, "in_doubt")], [SETTLED] * 4, id="settled is settled"),
    ],
)
def test_requests_on_record_tell_the_states(past: Sequence[PastRequest], states: list[State]) -> None:
    """Only a clear answer settles an event; only an unclear one puts it in doubt."""
    assert event_states(4, past) == states


# --- The second try, without lead id ----------------------------------------------------------------------------------


def test_an_event_with_an_unknown_lead_id_is_tried_without_it() -> None:
    """Meta does not know the lead, but e-mail or phone are there: one more try."""
    past = [request(1, 2, "payload_refused", SUBCODE_LEAD_UNKNOWN)]

    states = event_states(3, past, can_drop_lead_id=[1])

    assert states == [OPEN, OPEN_WITHOUT_LEAD_ID, OPEN]


def test_an_event_that_cannot_lose_its_lead_id_is_settled() -> None:
    """Without e-mail and phone there is nothing else to try."""
    past = [request(1, 2, "payload_refused", SUBCODE_LEAD_UNKNOWN)]

    assert event_states(3, past, can_drop_lead_id=[0, 2]) == [OPEN, SETTLED, OPEN]


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        ("delivered", SETTLED),
        ("payload_refused", SETTLED),
        ("in_doubt", IN_DOUBT),
        ("not_processed", OPEN_WITHOUT_LEAD_ID),
    ],
)
def test_the_second_try_is_the_last_one(outcome: str, state: State) -> None:
    """An event that is refused without its lead id as well is rejected."""
    past = [
        request(0, 1, "payload_refused", SUBCODE_LEAD_UNKNOWN),
        request(0, 1, outcome, SUBCODE_LEAD_UNKNOWN, without=True),
    ]

    assert event_states(1, past, can_drop_lead_id=[0]) == [state]


def test_an_event_that_was_rejected_for_another_reason_has_no_second_try() -> None:
    """A refused request names one fault. That its neighbour's lead id is unknown does not reopen a rejected event."""
    past = [
        request(0, 2, "payload_refused", SUBCODE_LEAD_UNKNOWN),  # because of event 1
        request(0, 1, "payload_refused", SUBCODE_TOO_OLD),  # event 0 is at fault as well: rejected
    ]

    assert event_states(2, past, can_drop_lead_id=[0, 1]) == [SETTLED, OPEN]


# --- Every history ----------------------------------------------------------------------------------------------------


@st.composite
def past_requests(draw: st.DrawFn) -> PastRequest:
    """Draw any request about a chunk of twelve events."""
    start = draw(st.integers(0, 11))
    without_lead_id = draw(st.booleans())
    end = start + 1 if without_lead_id else draw(st.integers(start + 1, 12))
    return request(
        start,
        end,
        draw(st.sampled_from(["delivered", "payload_refused", "in_doubt", *NOTHING_HAPPENED])),
        draw(st.sampled_from([None, SUBCODE_LEAD_UNKNOWN, SUBCODE_TOO_OLD])),
        without=without_lead_id,
    )


@given(past=st.lists(past_requests(), max_size=20), droppable=st.frozensets(st.integers(0, 11)))
def test_what_is_settled_stays_settled(past: list[PastRequest], droppable: frozenset[int]) -> None:
    """However a history goes on, a settled event is never open again."""
    settled: set[int] = set()
    for length in range(len(past) + 1):
        states = event_states(12, past[:length], can_drop_lead_id=droppable)
        parts = open_parts(states, resend_in_doubt=True)

        assert not settled & {index for part in parts for index in range(part.start, part.end)}
        settled |= {index for index, state in enumerate(states) if state is SETTLED}


class Sending(RuleBasedStateMachine):
    """A worker, Meta and a network that fails: the loop of `load`, killed and started again at any point.

    `fates` says what Meta thinks of each event. `settled` is what the ledger shows as delivered or rejected.
    """

    def __init__(self) -> None:
        super().__init__()
        self.past: list[PastRequest] = []
        self.fates: list[str] = []
        self.droppable: set[int] = set()
        self.settled: set[int] = set()
        self.accepted: set[int] = set()
        self.resend = True
        self.todo: deque[Part] = deque()

    @initialize(
        fates=st.lists(st.sampled_from(["good", "good", "lead_unknown", "bad"]), min_size=1, max_size=9),
        data=st.data(),
        resend=st.booleans(),
    )
    def stored_chunk(self, fates: list[str], data: st.DataObject, resend: bool) -> None:  # noqa: FBT001 - drawn
        """Draw a chunk, and the pipeline's policy."""
        self.fates = fates
        self.droppable = data.draw(st.sets(st.integers(0, len(fates) - 1)))
        self.resend = resend
        self.starts_again()

    @rule()
    def starts_again(self) -> None:
        """The worker was killed, or its try is over: what is to do comes from the record alone."""
        self.todo = deque(open_parts(self.states(), resend_in_doubt=self.resend))

    @precondition(lambda self: self.todo)
    @rule(network=st.sampled_from(["works", "works", "works", "refuses", "limits", "loses answer", "loses request"]))
    def sends_next_part(self, network: str) -> None:
        """Send what comes next, as far as the network lets it."""
        part = self.todo.popleft()
        events = range(part.start, part.end)
        assert part.size >= 1
        assert not self.settled & set(events), "a settled event is sent again"
        assert not part.without_lead_id or part.size == 1

        outcome, subcode = self.answer_of_meta(part)
        if network in {"refuses", "limits"}:
            outcome, subcode = ("not_processed" if network == "refuses" else "rate_limited"), None
        elif network == "loses request":
            outcome, subcode = "in_doubt", None
        if outcome == "delivered":
            self.accepted |= set(events)
        if network == "loses answer":
            outcome, subcode = "in_doubt", None
        self.past.append(PastRequest(part=part, outcome=RequestOutcome(outcome), subcode=subcode))

        if outcome == "delivered":
            self.settled |= set(events)
        elif outcome == "payload_refused" and part.size > 1:
            self.todo.extendleft(reversed(part.halves()))
        elif outcome == "payload_refused" and self.has_second_try(part, subcode):
            self.todo.appendleft(part._replace(without_lead_id=True))
        elif outcome == "payload_refused":
            self.settled |= set(events)

    def answer_of_meta(self, part: Part) -> tuple[str, int | None]:
        """Meta takes all or nothing, and names the last fault it finds."""
        answer: tuple[str, int | None] = ("delivered", None)
        for index in range(part.start, part.end):
            if self.fates[index] == "bad":
                answer = ("payload_refused", SUBCODE_TOO_OLD)
            elif self.fates[index] == "lead_unknown" and not part.without_lead_id:
                answer = ("payload_refused", SUBCODE_LEAD_UNKNOWN)
        return answer

    def has_second_try(self, part: Part, subcode: int | None) -> bool:
        """Say whether a refused event can be tried without its lead id."""
        return subcode == SUBCODE_LEAD_UNKNOWN and not part.without_lead_id and part.start in self.droppable

    def states(self) -> list[State]:
        """Return what the record tells."""
        return event_states(len(self.fates), self.past, can_drop_lead_id=self.droppable)

    @invariant()
    def the_record_knows_what_is_settled(self) -> None:
        """Record and ledger agree."""
        assert {index for index, state in enumerate(self.states()) if state is SETTLED} == self.settled

    @invariant()
    def every_event_is_settled_open_or_held(self) -> None:
        """No event is lost, and none is in two places."""
        states = self.states()
        parts = open_parts(states, resend_in_doubt=self.resend)
        is_open = [index for part in parts for index in range(part.start, part.end)]
        held = [index for index, state in enumerate(states) if state is IN_DOUBT and not self.resend]

        assert sorted([*self.settled, *is_open, *held]) == list(range(len(self.fates)))

    def teardown(self) -> None:
        """A last try over a network that works ends the story of every event that is not held in doubt."""
        if not self.fates:
            return
        self.starts_again()
        for _ in range(10 * len(self.fates)):
            if self.todo:
                self.sends_next_part("works")
        held = {index for index, state in enumerate(self.states()) if state is IN_DOUBT and not self.resend}
        deliverable = {
            index
            for index, fate in enumerate(self.fates)
            if fate == "good" or (fate == "lead_unknown" and index in self.droppable)
        }

        assert not self.todo
        assert self.settled | held == set(range(len(self.fates)))
        assert deliverable - held <= self.accepted <= deliverable


TestAWorkerThatIsKilledAtAnyPoint = Sending.TestCase
TestAWorkerThatIsKilledAtAnyPoint.settings = settings(stateful_step_count=40)
