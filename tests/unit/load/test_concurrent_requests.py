"""Requests at a time: how many may be under way, and in which order their answers are taken."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from crm_to_meta.load.concurrent_requests import Lanes
from crm_to_meta.meta.answers import Action, Answer
from crm_to_meta.meta.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_S = 10
TAKEN = Answer(action=Action.DELIVERED, duration_ms=1)
REFUSED = Answer(action=Action.PAYLOAD, duration_ms=1)
TAKEN_BUT_WAIT = Answer(action=Action.DELIVERED, duration_ms=1, retry_after_s=60)
NEARLY_FULL = Answer(action=Action.DELIVERED, duration_ms=1, usage=Usage(percent=99))


class Meta:
    """Answers each body when it is told to, in any order."""

    def __init__(self) -> None:
        self._answers: dict[bytes, Answer | Exception] = {}
        self._changed = threading.Condition()

    def send_events(self, body: bytes, *, events: int) -> Answer:
        """Wait for the answer to a body."""
        assert events == 1
        with self._changed:
            assert self._changed.wait_for(lambda: body in self._answers, PATIENCE_S)
        answer = self._answers[body]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def answer(self, lanes: Lanes[int], **answers: Answer | Exception) -> None:
        """Answer bodies, and wait until the answers are there."""
        with self._changed:
            self._answers |= {body.encode(): answer for body, answer in answers.items()}
            self._changed.notify_all()
        known = [future for future, number in lanes._contexts.items() if f"b{number}" in answers]
        for future in known:
            future.exception(PATIENCE_S)


@pytest.fixture
def meta() -> Meta:
    """Return somebody who answers."""
    return Meta()


@pytest.fixture
def lanes(meta: Meta, request: pytest.FixtureRequest) -> Iterator[Lanes[int]]:
    """Return three lanes, or as many as the test wants."""
    made = Lanes[int](meta, getattr(request, "param", 3))  # type: ignore[arg-type] # all that it needs of a client
    yield made
    meta.answer(made, **{f"b{number}": TAKEN for number in made._contexts.values()})
    made.close()


def send(lanes: Lanes[int], *numbers: int) -> None:
    """Send bodies b1, b2 and so on."""
    for number in numbers:
        lanes.send(f"b{number}".encode(), events=1, context=number)


def test_there_is_room_for_as_many_as_there_are_lanes(lanes: Lanes[int]) -> None:
    """And for none beyond them."""
    rooms = [lanes.has_room]
    for number in (1, 2, 3):
        send(lanes, number)
        rooms.append(lanes.has_room)

    assert rooms == [True, True, True, False]
    assert (len(lanes), lanes.has_answers) == (3, False)


def test_one_success_may_wait_while_the_next_request_goes_out(lanes: Lanes[int], meta: Meta) -> None:
    """A second one has to be taken first: what is not written down is in doubt after a crash."""
    send(lanes, 1, 2, 3)
    meta.answer(lanes, b1=TAKEN)
    after_one = lanes.has_room
    send(lanes, 4)
    meta.answer(lanes, b2=TAKEN)
    after_two = lanes.has_room
    lanes.take()

    assert (after_one, after_two, lanes.has_room) == (True, False, True)


@pytest.mark.parametrize("lanes", [1], indirect=True)
def test_one_lane_takes_each_answer_before_the_next_request(lanes: Lanes[int], meta: Meta) -> None:
    """Whoever wants one request at a time has each on record first."""
    send(lanes, 1)
    meta.answer(lanes, b1=TAKEN)

    assert not lanes.has_room
    assert lanes.take() == (1, TAKEN)
    assert lanes.has_room


@pytest.mark.parametrize("answer", [REFUSED, NEARLY_FULL, TAKEN_BUT_WAIT], ids=["refused", "nearly full", "to wait"])
def test_nothing_goes_out_beside_an_answer_that_may_change_something(
    lanes: Lanes[int], meta: Meta, answer: Answer
) -> None:
    """And it is the first one to be taken, whichever came first."""
    send(lanes, 1, 2)
    meta.answer(lanes, b1=TAKEN)
    meta.answer(lanes, b2=answer)

    assert not lanes.has_room
    assert [lanes.take(), lanes.take()] == [(2, answer), (1, TAKEN)]


def test_a_defect_in_a_thread_is_raised_where_its_answer_is_taken(lanes: Lanes[int], meta: Meta) -> None:
    """Before all others; nothing more goes out until then."""
    send(lanes, 1, 2)
    meta.answer(lanes, b1=TAKEN, b2=ZeroDivisionError())

    assert not lanes.has_room
    with pytest.raises(ZeroDivisionError):
        lanes.take()
    assert lanes.take() == (1, TAKEN)


def test_waiting_ends_with_the_first_answer(lanes: Lanes[int], meta: Meta) -> None:
    """The others go on."""
    send(lanes, 1, 2)
    meta.answer(lanes, b2=TAKEN)
    lanes.wait()

    assert lanes.has_answers
    assert lanes.wait_for_all(0.01) == 1
    assert lanes.take() == (2, TAKEN)
    assert len(lanes) == 1


def test_all_come_home(lanes: Lanes[int], meta: Meta) -> None:
    """Without a limit, as many as were sent."""
    send(lanes, 1, 2, 3)
    answers: dict[str, Any] = {"b1": TAKEN, "b2": REFUSED, "b3": TAKEN}
    meta.answer(lanes, **answers)

    assert lanes.wait_for_all(None) == 3
    assert sorted(lanes.take()[0] for _ in range(3)) == [1, 2, 3]
