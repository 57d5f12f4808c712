"""The step load: send the stored chunks of a shard to Meta, and find the events at fault in what Meta refuses.

Several requests are under way at a time, and only they run in threads. One thread, with one connection to the
warehouse, does all the rest: it reads chunks, writes down each request before it is sent, and each answer when it
came. docs/delivery.md says what a kill at any moment leaves behind, and who goes on from there.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from crm_to_meta.errors import CrmToMetaError, PermanentError
from crm_to_meta.load.chunk_in_flight import ChunkInFlight, Request
from crm_to_meta.load.concurrent_requests import ConcurrentRequests
from crm_to_meta.load.endings import (
    describe_put_aside,
    describe_rate_limit,
    describe_stop,
    describe_unclear,
    describe_used_up,
)
from crm_to_meta.load.journal import Journal
from crm_to_meta.load.progress import LoadProgress
from crm_to_meta.meta.answers import STOPPING, Action, Answer
from crm_to_meta.meta.pacing import blocked_s, slow_down_s
from crm_to_meta.pipeline.settings import LONGEST_WAIT_IN_TASK_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from crm_to_meta.meta.client import MetaClient
    from crm_to_meta.models import Mode, Shard, Status
    from crm_to_meta.pipeline.settings import Pipeline
    from crm_to_meta.warehouse import Connection

MOST_ISOLATING_REQUESTS: Final = 500  # a try's share for chunks that were put aside
GRACE_S: Final = 5.0  # what requests under way get when the task is told to end; Airflow kills it after that long

log = logging.getLogger("crm_to_meta")


@dataclass(slots=True)
class Loading:
    """What load did for a shard: the number of its requests, and of its events by the status that they got."""

    requests: int = 0
    events: Counter[str] = field(default_factory=Counter)


def load(
    connection: Connection,
    pipeline: Pipeline,
    shard: Shard,
    client: MetaClient,
    *,
    mode: Mode,
    clears_stop: bool = False,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Loading:
    """Send the chunks of a shard that are not done. If all of them are, this sends nothing.

    Args:
        connection: to the warehouse, in autocommit mode.
        pipeline: gives concurrency, attempts, margins and what happens to requests in doubt.
        shard: whose chunks are sent.
        client: sends a body and classifies the answer, in several threads at a time.
        mode: live or test; a preview has nothing to load.
        clears_stop: this is a later try: go on although a shard stopped the run, since somebody may have fixed it.
        sleep: waits between attempts; replaced in tests.
        now: what ages are measured against.

    Raises:
        CredentialsError: token, permission, dataset or API version; all shards stop, all events stay pending.
        AllRefusedError: Meta refuses events alike, and took nothing that was sent after them; they stay pending.
        MetaUnavailableError: Meta did not take everything within the attempts of one task.
        RateLimitedError: Meta asked for a pause.
        RunTakenOverError: another run holds the transitions by now.
    """
    lease = timedelta(minutes=pipeline.lease_minutes)
    journal = Journal(connection, shard, pipeline=pipeline.name, mode=mode, lease=lease)
    journal.open_run(clears_stop=clears_stop)
    loader = _Loader(pipeline, shard, journal, client, sleep=sleep, now=now)
    loader.run()
    return loader.result


class _Loader:
    """Sends the chunks of a shard. The methods stand in the order in which they are called."""

    def __init__(
        self,
        pipeline: Pipeline,
        shard: Shard,
        journal: Journal,
        client: MetaClient,
        *,
        sleep: Callable[[float], None],
        now: Callable[[], datetime],
    ) -> None:
        self.result = Loading()
        self._settings = pipeline.delivery
        self._shard = shard
        self._journal = journal
        self._sleep = sleep
        self._now = now
        self._requests = ConcurrentRequests[Request](client, self._settings.concurrency)
        chunks = journal.list_chunks()
        self._unread = deque(chunks)  # numbers of chunks
        self._ready: deque[ChunkInFlight] = deque()  # something of them may be sent now, or they are to be closed
        self._put_aside: list[ChunkInFlight] = []  # Meta refused what was tried of them: all others go first
        self._unclear: list[int] = []  # numbers of chunks with events that have no clear answer
        self._requests_left: int | None = None  # no limit, but for chunks that were put aside
        self._pause_s = 0.0
        self._progress = LoadProgress(sum(chunks.values()), self._tell)

    def run(self) -> None:
        """Send everything. Whatever ends that, answers to requests under way are waited for and written down."""
        try:
            self._send_all()
            while self._resume_put_aside():
                self._send_all()
        except BaseException as error:
            worse = self._drain(None if isinstance(error, Exception) else GRACE_S)
            if worse and not isinstance(error, PermanentError) and isinstance(error, CrmToMetaError):
                raise worse from None  # trying again would change nothing
            raise
        finally:
            self._requests.close()
        self._raise_what_is_left()

    def _send_all(self) -> None:
        """Send until nothing is left, or only chunks that were put aside."""
        while True:
            self._send_what_may_go()
            if self._requests:
                self._read_ahead()
                self._requests.wait()
                self._send_what_may_go()  # before the answer is written down, see `ConcurrentRequests.has_room`
                self._record(*self._requests.take())
            elif self._pause_s and (self._ready or self._unread):
                self._rest()
            else:
                return

    def _send_what_may_go(self) -> None:
        """Send as long as there may be more requests under way; during a pause none is."""
        while self._requests.has_room and not self._pause_s and (chunk := self._next_chunk()):
            request = chunk.begin_request(self._now())
            if request is None:
                self._close(chunk)
                continue
            self._requests.send(request.body, events=request.part.size, context=request)
            if self._requests_left is not None:
                self._requests_left -= 1

    def _next_chunk(self) -> ChunkInFlight | None:
        if self._requests_left == 0:  # what is done is only to be closed
            self._put_aside += [chunk for chunk in self._ready if not chunk.is_done]
            self._ready = deque(chunk for chunk in self._ready if chunk.is_done)
        if self._ready:
            return self._ready.popleft()
        return self._read_chunk() if self._unread else None

    def _read_chunk(self) -> ChunkInFlight:
        return ChunkInFlight(self._unread.popleft(), self._journal, self._settings, self._count)

    def _read_ahead(self) -> None:
        """Have chunks ready when answers come: reading them is then no time in which nothing is sent."""
        while self._unread and len(self._ready) < self._settings.concurrency and not self._requests.has_answers:
            self._ready.append(self._read_chunk())

    def _record(self, request: Request, answer: Answer) -> None:
        """Write an answer down, and do what it asks for."""
        chunk = request.chunk
        self.result.requests += 1
        chunk.record(request, answer)
        self._pace(answer)
        if answer.action in STOPPING:
            self._journal.stop_run(answer.name)
            raise describe_stop(answer)
        if answer.action not in {Action.DELIVERED, Action.PAYLOAD}:
            self._pause_s = max(self._pause_s, chunk.send_later(request.part, answer))
        if chunk.is_given_up:
            self._unclear.append(chunk.chunk_no)
        elif chunk.is_stuck:
            self._put_aside.append(chunk)
        else:
            self._ready.appendleft(chunk)

    def _pace(self, answer: Answer) -> None:
        """Send nothing for as long as Meta asks. Long pauses bind the pipeline, and are left to Airflow's retry."""
        pause_s = blocked_s(answer)
        if pause_s <= LONGEST_WAIT_IN_TASK_S:
            self._pause_s = max(self._pause_s, pause_s, slow_down_s(answer))
            return
        self._journal.pause_run(pause_s)
        if answer.action is Action.RATE_LIMIT:
            raise describe_rate_limit(answer)

    def _close(self, chunk: ChunkInFlight) -> None:
        """Nothing of a chunk is left to send; suspects wait for what becomes of other chunks."""
        if not chunk.close():
            self._put_aside.append(chunk)
        elif not chunk.is_clear:
            self._unclear.append(chunk.chunk_no)

    def _rest(self) -> None:
        """Wait, with nothing under way; the lease is renewed for that long."""
        self._journal.renew_lease()
        pause_s, self._pause_s = self._pause_s, 0.0
        self._sleep(pause_s)

    def _resume_put_aside(self) -> bool:
        """Go on with chunks that were put aside, where Meta took something that was sent after their refusals."""
        witness_sent_at = self._journal.find_witness() if self._put_aside else None
        if witness_sent_at is None or self._requests_left == 0:
            return False
        if self._requests_left is None:
            self._requests_left = MOST_ISOLATING_REQUESTS
        put_aside, self._put_aside = self._put_aside, []
        for chunk in put_aside:
            (self._ready if chunk.look_again(witness_sent_at) else self._put_aside).append(chunk)
        return bool(self._ready)

    def _drain(self, limit_s: float | None) -> PermanentError | None:
        """Write down the answers to what is under way; return the first error among them that a person has to fix.

        What is not answered in time, or cannot be written down, stays `sending`: the next try puts it in doubt.
        """
        worse = None
        for _ in range(self._requests.wait_for_all(limit_s)):
            try:
                self._record(*self._requests.take())
            except PermanentError as error:
                worse = worse or error
            except Exception:  # noqa: BLE001 - the first cause is being raised
                log.debug("the answer to a request that was under way could not be written down")
        return worse

    def _raise_what_is_left(self) -> None:
        run_key = self._shard.run_key
        if self._unclear:
            raise describe_unclear(run_key, self._unclear)
        if self._put_aside and self._requests_left == 0:
            raise describe_used_up(run_key, self._put_aside, requests=MOST_ISOLATING_REQUESTS)
        if self._put_aside:
            raise describe_put_aside(run_key, self._put_aside)

    def _count(self, status: Status, events: int) -> None:
        self.result.events[status] += events
        self._progress.add(events)

    def _tell(self, sentence: str) -> None:
        log.info("load %s: %s, %s, %d requests", self._shard.run_key, self._shard.label, sentence, self.result.requests)
