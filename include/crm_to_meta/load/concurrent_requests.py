"""The requests to Meta that are under way at a time.

Only the HTTP requests run in threads; one thread alone sends, waits and takes the answers.
"""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Generic, TypeVar

from crm_to_meta.meta.answers import Action, Answer
from crm_to_meta.meta.pacing import blocked_s, slow_down_s

if TYPE_CHECKING:
    from crm_to_meta.meta.client import MetaClient

Context = TypeVar("Context")


class ConcurrentRequests(Generic[Context]):
    """The requests that are under way, each with what the caller knows of it."""

    def __init__(self, client: MetaClient, most: int) -> None:
        """Allow for `most` requests at a time."""
        self._client = client
        self._most = most
        self._pool = ThreadPoolExecutor(most, thread_name_prefix="meta")
        self._contexts: dict[Future[Answer], Context] = {}

    def __len__(self) -> int:
        """Return how many requests are under way or answered, and not taken yet."""
        return len(self._contexts)

    @property
    def has_answers(self) -> bool:
        """Say whether an answer is there to be taken."""
        return any(future.done() for future in self._contexts)

    @property
    def has_room(self) -> bool:
        """Say whether another request may go out.

        Writing an answer down takes a while in which nothing would be sent: a success may wait for that. Only one,
        since what is not on record is in doubt after a crash; and none where only one request at a time is wanted.
        """
        answered = [future for future in self._contexts if future.done()]
        under_way = len(self._contexts) - len(answered)
        untaken = 1 if self._most > 1 else 0
        return (
            under_way < self._most
            and len(self._contexts) < self._most + untaken
            and all(map(_is_plain_success, answered))
        )

    def send(self, body: bytes, *, events: int, context: Context) -> None:
        """Send a body; `context` comes back with its answer."""
        self._contexts[self._pool.submit(self._client.send_events, body, events=events)] = context

    def wait(self) -> None:
        """Wait until an answer is there."""
        wait(self._contexts, return_when=FIRST_COMPLETED)

    def wait_for_all(self, timeout_s: float | None) -> int:
        """Wait until all are answered, or for so long; return how many answers are there."""
        return len(wait(self._contexts, timeout=timeout_s).done)

    def take(self) -> tuple[Context, Answer]:
        """Return an answer that is there, first one that may change something for the other requests.

        An error in the sending that no rule foresees is raised here.
        """
        future = min(filter(Future.done, self._contexts), key=_is_plain_success)
        return self._contexts.pop(future), future.result()

    def close(self) -> None:
        """Send nothing more, and wait for nobody."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _is_plain_success(future: Future[Answer]) -> bool:
    if future.exception() is not None:
        return False
    answer = future.result()
    return answer.action is Action.DELIVERED and not blocked_s(answer) and not slow_down_s(answer)
