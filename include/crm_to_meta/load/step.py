"""Load: stored chunks in, Meta's answers out. Poisoned events are isolated, all others are delivered.

Several requests are under way at a time, and only they are in threads: reading chunks, deciding, and writing down what
is sent and answered is one thread's work, over one connection. Each request is on record before it is sent. An expired
token or a wrong dataset stops everything and marks no event.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from crm_to_meta.errors import (
    AllRefusedError,
    CredentialsError,
    CrmToMetaError,
    MetaUnavailableError,
    PermanentError,
    RateLimitedError,
)
from crm_to_meta.load.chunk_in_flight import Delivery, read_delivery
from crm_to_meta.load.concurrent_requests import Lanes
from crm_to_meta.load.isolation import Suspect
from crm_to_meta.load.journal import Consequence, Journal, Recorded
from crm_to_meta.load.progress import LoadProgress
from crm_to_meta.load.resume import Part
from crm_to_meta.meta.answers import Action, Answer
from crm_to_meta.meta.pacing import back_off_s, blocked_s, slow_down_s
from crm_to_meta.pipeline.settings import LONGEST_WAIT_IN_TASK_S
from crm_to_meta.reasons import explain_answer, explain_refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from crm_to_meta.meta.client import MetaClient
    from crm_to_meta.models import Mode, Shard
    from crm_to_meta.pipeline.settings import Pipeline
    from crm_to_meta.warehouse import Connection

MOST_ISOLATING_REQUESTS: Final = 500  # a try's share for chunks in which everything seems to be refused
GRACE_S: Final = 5.0  # what requests under way get when the task is told to end; Airflow kills it after that long

log = logging.getLogger("crm_to_meta")


@dataclass(slots=True)
class Loading:
    """What load hands on for a shard: counts by outcome, and the number of requests."""

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
    """Send the chunks of a shard that are not finished. Done before, it sends nothing.

    Args:
        connection: to the warehouse, in autocommit mode.
        pipeline: gives concurrency, attempts, margins and what happens to requests in doubt.
        shard: whose chunks are sent.
        client: sends a body and classifies the answer, in several threads at a time.
        mode: live or test; a preview has nothing to load.
        clears_stop: this is a later try: go on although a shard stopped the run, since somebody may have mended it.
        sleep: waits between attempts; replaced in tests.
        now: what ages are measured against.

    Raises:
        CredentialsError: token, permission, dataset or API version; all shards stop, all events stay pending.
        AllRefusedError: Meta refuses whatever was tried of a chunk, all for the same reason; its events stay pending.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    """A request that is under way."""

    delivery: Delivery
    part: Part
    request_id: int


class _Loader:
    """Delivers the chunks of a shard, as many at a time as there may be requests."""

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
        self._lanes = Lanes[_Sent](client, self._settings.concurrency)
        chunks = journal.chunks()
        self._waiting = deque(chunks)  # numbers of chunks that were not read yet
        self._ready: deque[Delivery] = deque()  # chunks of which something may be sent now
        self._parked: list[Delivery] = []  # chunks in which everything seems to be refused
        self._unclear: list[int] = []
        self._pause_s = 0.0
        self._requests_left: int | None = None  # no limit, but for parked chunks
        self._progress = LoadProgress(sum(chunks.values()), self._tell)

    def run(self) -> None:
        """Send everything; whatever ends that, requests under way come home first and are written down."""
        try:
            self._send_all()
            while self._resume_parked():
                self._send_all()
        except BaseException as error:
            worse = self._come_home(None if isinstance(error, Exception) else GRACE_S)
            if worse and not isinstance(error, PermanentError) and isinstance(error, CrmToMetaError):
                raise worse from None  # trying again would change nothing
            raise
        finally:
            self._lanes.close()
        self._raise_what_is_left()

    # Requests at a time ---------------------------------------------------------------------------------------------

    def _send_all(self) -> None:
        while True:
            self._fill()
            if self._lanes:
                self._read_ahead()
                self._lanes.wait()
                self._fill()  # before the answer is written down, see `Lanes.has_room`
                self._record(*self._lanes.take())
            elif self._pause_s and (self._ready or self._waiting):
                self._rest()
            else:
                return

    def _fill(self) -> None:
        """Send as long as there may be more requests under way; during a pause none is."""
        while self._lanes.has_room and not self._pause_s:
            delivery = self._next_delivery()
            if delivery is None:
                return
            part = self._next_part(delivery)
            if part is None:
                self._close(delivery)
            else:
                self._start(delivery, part)

    def _next_delivery(self) -> Delivery | None:
        if self._requests_left == 0:  # what is done is only to be closed
            self._parked += [delivery for delivery in self._ready if not delivery.search.is_done]
            self._ready = deque(delivery for delivery in self._ready if delivery.search.is_done)
        if self._ready:
            return self._ready.popleft()
        return self._read_next() if self._waiting else None

    def _read_ahead(self) -> None:
        """Have chunks ready when answers come: reading them is then no time in which nothing is sent."""
        if self._requests_left is None:
            while self._waiting and len(self._ready) < self._settings.concurrency and not self._lanes.has_answers:
                self._ready.append(self._read_next())

    def _read_next(self) -> Delivery:
        return read_delivery(self._journal, self._waiting.popleft(), resend_in_doubt=self._resends)

    def _start(self, delivery: Delivery, part: Part) -> None:
        body = delivery.body_of(part)
        attempt = delivery.attempts.setdefault(part, 1)
        request_id = self._journal.begin_request(delivery.chunk, part, attempt=attempt)
        self._lanes.send(body, events=part.size, context=_Sent(delivery=delivery, part=part, request_id=request_id))
        if self._requests_left is not None:
            self._requests_left -= 1

    def _rest(self) -> None:
        """Wait, with nothing under way; the lease is renewed for that long."""
        self._journal.renew_lease()
        pause_s, self._pause_s = self._pause_s, 0.0
        self._sleep(pause_s)

    def _come_home(self, limit_s: float | None) -> PermanentError | None:
        """Write down the answers to what is under way; return the first error among them that a person has to mend.

        What does not come home, or cannot be written down, is on record as sending: the next try puts it in doubt.
        """
        worse = None
        for _ in range(self._lanes.wait_for_all(limit_s)):
            try:
                self._record(*self._lanes.take())
            except PermanentError as error:
                worse = worse or error
            except Exception:  # noqa: BLE001 - the first cause is being raised
                log.debug("an answer that came home could not be written down")
        return worse

    # One chunk ------------------------------------------------------------------------------------------------------

    def _next_part(self, delivery: Delivery) -> Part | None:
        """Return the next part, without the events that became too old; those come first, a chunk is in order of time.

        Only where the ledger can remember it: a test run sends the newest rows, and once.
        """
        oldest = (self._now() - self._settings.max_event_age).timestamp()
        while (part := delivery.search.next_part()) is not None:
            start = part.start
            while self._journal.is_live and start < part.end and delivery.event_time(start) < oldest:
                start += 1
            if start > part.start:
                self._journal.expire(delivery.chunk, Part(part.start, start))
                self._count("expired", start - part.start)
            if start < part.end:
                young = part._replace(start=start)
                delivery.attempts[young] = delivery.attempts.get(part, 1)
                return young
        return None

    def _close(self, delivery: Delivery) -> None:
        """Nothing of the chunk is left to send; where refusals are not confirmed, what other chunks meet may do it."""
        delivery.search.finish()
        self._confirm_rejections(delivery)
        if delivery.search.suspects:
            self._parked.append(delivery)
            return
        chunk_no = delivery.chunk.chunk_no
        if delivery.is_settled:
            self._journal.finish_chunk(chunk_no)
        if not delivery.is_clear:
            self._unclear.append(chunk_no)

    def _record(self, sent: _Sent, answer: Answer) -> None:
        """Write an answer down and do what it asks for."""
        delivery, part = sent.delivery, sent.part
        consequence = delivery.consequence_of(part, answer)
        recorded = self._journal.end_request(sent.request_id, delivery.chunk, part, answer, consequence=consequence)
        self.result.requests += 1
        self._pace(answer)
        match answer.action:
            case Action.AUTH | Action.CONFIGURATION:
                self._journal.stop_run(answer.name)
                raise CredentialsError(
                    f"{explain_answer(answer)} No event is at fault; all that is unsent stays pending."
                )
            case Action.DELIVERED:
                self._count("delivered", part.size)
                delivery.search.mark_delivered(part)
                self._confirm_rejections(delivery)
            case Action.PAYLOAD:
                self._refuse(sent, answer, consequence, recorded)
            case Action.IN_DOUBT if not self._resends:
                delivery.is_settled = False
            case Action.UNKNOWN:
                self._unclear.append(delivery.chunk.chunk_no)
                return
            case _:
                self._try_again(delivery, part, answer)
        if delivery.search.is_stuck:
            self._parked.append(delivery)
        else:
            self._ready.appendleft(delivery)

    def _refuse(self, sent: _Sent, answer: Answer, consequence: Consequence, recorded: Recorded) -> None:
        """Search for the events at fault in what was refused; one that stands alone is rejected, once that is sure."""
        delivery, part = sent.delivery, sent.part
        delivery.refusal = refusal = (answer.code, answer.subcode)
        if consequence is Consequence.SUSPECT:
            suspect = Suspect(
                part=part,
                refusal=refusal,
                request_id=sent.request_id,
                refused_at=recorded.at,
                fbtrace_id=answer.fbtrace_id,
            )
            delivery.search.mark_refused_alone(suspect)
            self._confirm_rejections(delivery)
        elif consequence is Consequence.REJECT:
            self._count(recorded.status or "rejected", 1)
        elif part.size > 1:
            delivery.search.mark_refused(part, has_subcode=answer.subcode is not None, hint=answer.place)
        else:
            delivery.search.send_again(part._replace(without_lead_id=True))

    def _confirm_rejections(self, delivery: Delivery) -> None:
        """Reject the events that were refused alone and are at fault beyond doubt."""
        for suspect in delivery.search.take_confirmed():
            self._count(self._journal.confirm_rejection(delivery.chunk, suspect), 1)

    def _try_again(self, delivery: Delivery, part: Part, answer: Answer) -> None:
        """Put a part back that was not processed, or may not have been, as long as there are attempts left."""
        attempt = delivery.attempts[part]
        if attempt < self._settings.attempts:
            self._pause_s = max(self._pause_s, 0.0 if answer.action is Action.RATE_LIMIT else back_off_s(attempt))
            if answer.action is Action.REDUCE:
                again = delivery.search.send_halves(part)
            else:
                delivery.search.send_again(part)
                again = [part]
            delivery.attempts.update(dict.fromkeys(again, attempt + 1))
        elif answer.action is Action.IN_DOUBT:
            delivery.is_settled = delivery.is_clear = False
        elif answer.action is Action.RATE_LIMIT:
            raise _rate_limited(answer)
        else:
            raise MetaUnavailableError(
                f"Meta did not take chunk {delivery.chunk.chunk_no} in {self._settings.attempts} attempts "
                f"({answer.words}); what is unsent stays pending. The next try goes on from here.",
                retry_after_s=answer.retry_after_s,
            )

    # All chunks -----------------------------------------------------------------------------------------------------

    def _pace(self, answer: Answer) -> None:
        """Send nothing for as long as Meta asks. Long pauses bind all shards, and are left to Airflow's retry."""
        pause_s = blocked_s(answer)
        if pause_s <= LONGEST_WAIT_IN_TASK_S:
            self._pause_s = max(self._pause_s, pause_s, slow_down_s(answer))
            return
        self._journal.pause_run(pause_s)
        if answer.action is Action.RATE_LIMIT:
            raise _rate_limited(answer)

    def _resume_parked(self) -> bool:
        """Go on with chunks that were put aside, where Meta took something after it refused their events."""
        witness_sent_at = self._journal.find_witness() if self._parked else None
        if witness_sent_at is None or self._requests_left == 0:
            return False
        if self._requests_left is None:
            self._requests_left = MOST_ISOLATING_REQUESTS
        resumed = [delivery for delivery in self._parked if delivery.search.look_again(witness_sent_at)]
        self._parked = [delivery for delivery in self._parked if delivery not in resumed]
        for delivery in resumed:
            self._confirm_rejections(delivery)
        self._ready.extend(resumed)
        return bool(resumed)

    def _raise_what_is_left(self) -> None:
        if self._unclear:
            raise MetaUnavailableError(
                f"Run {self._shard.run_key}: {len(self._unclear)} chunks (first: {min(self._unclear)}) have events "
                "without a clear answer of Meta's; they stay pending or in doubt. See capi.request for status, code "
                "and fbtrace_id."
            )
        if self._parked:
            raise self._describe_parked()

    def _describe_parked(self) -> AllRefusedError:
        first = self._parked[0]
        suspects = sum(len(delivery.search.suspects) for delivery in self._parked)
        pending = sum(delivery.search.open_events for delivery in self._parked)
        where = f"{len(self._parked)} chunks (first: {first.chunk.chunk_no})"
        if self._requests_left == 0:
            return AllRefusedError(
                f"Run {self._shard.run_key}: Meta refuses events of {where} alike: {explain_refusal(*first.refusal)} "
                f"It took others, so these are searched one by one; this try used up its {MOST_ISOLATING_REQUESTS} "
                f"requests for that, and {pending} events stay pending. Clear this task to go on, or let the next run."
            )
        return AllRefusedError(
            f"Run {self._shard.run_key}: Meta refused {suspects} events of {where}, each alone and alike: "
            f"{explain_refusal(*first.refusal)} It took nothing of this run that was sent after them, so they may not "
            f"be at fault one by one: none of them is rejected, and {pending} events stay pending. Fix what they have "
            "in common, if anything, and clear this task; otherwise the next run decides, once Meta takes others after "
            "them. See capi.request for the fbtrace_id."
        )

    def _count(self, status: str, events: int) -> None:
        self.result.events[status] += events
        self._progress.add(events)

    def _tell(self, sentence: str) -> None:
        log.info("load %s: %s, %s, %d requests", self._shard.run_key, self._shard.label, sentence, self.result.requests)

    @property
    def _resends(self) -> bool:
        return self._settings.on_in_doubt == "resend"


def _rate_limited(answer: Answer) -> RateLimitedError:
    wait_s = blocked_s(answer)
    return RateLimitedError(
        f"Meta limits the rate of this app ({answer.name}); everything unsent stays pending for {wait_s:.0f} s.",
        retry_after_s=wait_s,
    )
