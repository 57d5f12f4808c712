"""Requests at a time: how many may be under way, and in which order their answers are taken."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from crm_to_meta.load.concurrent_requests import ConcurrentRequests
from crm_to_meta.meta.answers import Action, Answer
from crm_to_meta.meta.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_S = 60
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

    def answer(self, requests: ConcurrentRequests[int], **answers: Answer | Exception) -> None:
        """Answer bodies, and wait until the answers are there."""
        with self._changed:
            self._answers |= {body.encode(): answer for body, answer in answers.items()}
            self._changed.notify_all()
        known = [future for future, number in requests._contexts.items() if f"b{number}" in answers]
        for future in known:
            future.exception(PATIENCE_S)


@pytest.fixture
def meta() -> Meta:
    """Return somebody who answers."""
    return Meta()


@pytest.fixture
def requests(meta: Meta, request: pytest.FixtureRequest) -> Iterator[ConcurrentRequests[int]]:
    """Return room for three requests, or for as many as the test wants."""
    made = ConcurrentRequests[int](meta, getattr(request, "param", 3))  # type: ignore[arg-type] # all that it needs of a client
    yield made
    meta.answer(made, **{f"b{number}": TAKEN for number in made._contexts.values()})
    made.close()


def send(requests: ConcurrentRequests[int], *numbers: int) -> None:
    """Send bodies b1, b2 and so on."""
    for number in numbers:
        requests.send(f"b{number}".encode(), events=1, context=number)


def test_there_is_room_for_as_many_as_there_may_be(requests: ConcurrentRequests[int]) -> None:
    """And for none beyond them."""
    rooms = [requests.has_room]
    for number in (1, 2, 3):
        send(requests, number)
        rooms.append(requests.has_room)

    assert rooms == [True, True, True, False]
    assert (len(requests), requests.has_answers) == (3, False)


def test_one_success_may_wait_while_the_next_request_goes_out(requests: ConcurrentRequests[int], meta: Meta) -> None:
    """A second one has to be taken first: what is not written down is in doubt after a crash."""
    send(requests, 1, 2, 3)
    meta.answer(requests, b1=TAKEN)
    after_one = requests.has_room
    send(requests, 4)
    meta.answer(requests, b2=TAKEN)
    after_two = requests.has_room
    requests.take()

    assert (after_one, after_two, requests.has_room) == (True, False, True)


@pytest.mark.parametrize("requests", [1], indirect=True)
def test_one_at_a_time_takes_each_answer_before_the_next_request(requests: ConcurrentRequests[int], meta: Meta) -> None:
    """Whoever wants one request at a time has each on record first."""
    send(requests, 1)
    meta.answer(requests, b1=TAKEN)

    assert not requests.has_room
    assert requests.take() == (1, TAKEN)
    assert requests.has_room


@pytest.mark.parametrize("answer", [REFUSED, NEARLY_FULL, TAKEN_BUT_WAIT], ids=["refused", "nearly full", "to wait"])
def test_nothing_goes_out_beside_an_answer_that_may_change_something(
    requests: ConcurrentRequests[int], meta: Meta, answer: Answer
) -> None:
    """And it is the first one to be taken, whichever came first."""
    send(requests, 1, 2)
    meta.answer(requests, b1=TAKEN)
    meta.answer(requests, b2=answer)

    assert not requests.has_room
    assert [requests.take(), requests.take()] == [(2, answer), (1, TAKEN)]


def test_a_defect_in_a_thread_is_raised_where_its_answer_is_taken(
    requests: ConcurrentRequests[int], meta: Meta
) -> None:
    """Before all others; nothing more goes out until then."""
    send(requests, 1, 2)
    meta.answer(requests, b1=TAKEN, b2=ZeroDivisionError())

    assert not requests.has_room
    with pytest.raises(ZeroDivisionError):
        requests.take()
    assert requests.take() == (1, TAKEN)


def test_waiting_ends_with_the_first_answer(requests: ConcurrentRequests[int], meta: Meta) -> None:
    """The others go on."""
    send(requests, 1, 2)
    meta.answer(requests, b2=TAKEN)
    requests.wait()

    assert requests.has_answers
    assert requests.wait_for_all(0.01) == 1
    assert requests.take() == (2, TAKEN)
    assert len(requests) == 1


def test_all_are_waited_for(requests: ConcurrentRequests[int], meta: Meta) -> None:
    """Without a limit, as many as were sent."""
    send(requests, 1, 2, 3)
    answers: dict[str, Any] = {"b1": TAKEN, "b2": REFUSED, "b3": TAKEN}
    meta.answer(requests, **answers)

    assert requests.wait_for_all(None) == 3
    assert sorted(requests.take()[0] for _ in range(3)) == [1, 2, 3]
