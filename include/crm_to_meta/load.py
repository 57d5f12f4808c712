"""Load: stored chunks in, Meta's answers out. Poisoned events are isolated, all others are delivered.

Meta takes or refuses a request as a whole. A refused request is cut in halves until the events at fault stand alone; an
expired token or a wrong dataset stops everything and marks no event. Each request is on record before it is sent.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from crm_to_meta.chunk_progress import Part, State, event_states, open_parts
from crm_to_meta.chunks import cut_body, drop_lead_id, split_events
from crm_to_meta.errors import CredentialsError, MetaUnavailableError, RateLimitedError
from crm_to_meta.journal import Chunk, Journal
from crm_to_meta.meta_answers import SUBCODE_LEAD_UNKNOWN, Action, Answer
from crm_to_meta.pipeline import LONGEST_WAIT_IN_TASK_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from crm_to_meta.meta_client import MetaClient
    from crm_to_meta.models import Mode, Shard
    from crm_to_meta.pipeline import Pipeline
    from crm_to_meta.warehouse import Connection

FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 60.0
RATE_LIMIT_WAIT_S: Final = 300.0  # where Meta does not say: limits are counted over an hour


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
        pipeline: gives attempts, margins and what happens to requests in doubt.
        shard: whose chunks are sent.
        client: sends a body and classifies the answer.
        mode: live or test; a preview has nothing to load.
        clears_stop: this is a later try: go on although a shard stopped the run, since somebody may have mended it.
        sleep: waits between attempts; replaced in tests.
        now: what ages are measured against.

    Raises:
        CredentialsError: token, permission, dataset or API version; all shards stop, all events stay pending.
        MetaUnavailableError: Meta did not take everything within the attempts of one task.
        RateLimitedError: Meta asked for a pause.
        RunTakenOverError: another run holds the transitions by now.
    """
    lease = timedelta(minutes=pipeline.lease_minutes)
    journal = Journal(connection, shard, pipeline=pipeline.name, mode=mode, lease=lease)
    journal.open_run(clears_stop=clears_stop)
    loader = _Loader(pipeline, journal, client, sleep=sleep, now=now)
    unclear = [chunk_no for chunk_no in journal.chunks() if not loader.deliver(journal.read_chunk(chunk_no))]
    if unclear:
        raise MetaUnavailableError(
            f"Run {shard.run_key}: {len(unclear)} chunks (first: {unclear[0]}) have events without a clear answer of "
            "Meta's; they stay pending or in doubt. See capi.request for status, code and fbtrace_id."
        )
    return loader.result


class _Loader:
    """Delivers one chunk after another."""

    def __init__(
        self,
        pipeline: Pipeline,
        journal: Journal,
        client: MetaClient,
        *,
        sleep: Callable[[float], None],
        now: Callable[[], datetime],
    ) -> None:
        self.result = Loading()
        self._delivery = pipeline.delivery
        self._journal = journal
        self._client = client
        self._sleep = sleep
        self._now = now

    def deliver(self, chunk: Chunk) -> bool:
        """Send what is open of a chunk; return false where a later try has to go on with it."""
        events = split_events(chunk.body)
        past = self._journal.past_requests(chunk.chunk_no)
        refused = {request.part.start for request in past if request.subcode == SUBCODE_LEAD_UNKNOWN}
        states = event_states(
            len(events), past, can_drop_lead_id=(index for index in refused if drop_lead_id(events[index]) is not None)
        )
        for index in self._journal.finished_events(chunk):
            states[index] = State.SETTLED
        resend = self._delivery.on_in_doubt == "resend"
        todo = deque(open_parts(states, resend_in_doubt=resend))
        is_clear = is_settled = True
        while todo:
            part = self._expire_head(chunk, events, todo.popleft())
            if part is None:
                continue
            answer = self._send(chunk, events, part)
            match answer.action:
                case Action.DELIVERED:
                    self.result.events["delivered"] += part.size
                case Action.PAYLOAD:
                    todo.extendleft(reversed(self._isolate(events, part, answer)))
                case Action.IN_DOUBT:
                    is_settled = False
                    is_clear = is_clear and not resend
                case _:
                    return False
        if is_settled:
            self._journal.finish_chunk(chunk.chunk_no)
        return is_clear

    def _isolate(self, events: list[bytes], part: Part, answer: Answer) -> list[Part]:
        """Return the parts to send instead of one that was refused; a single event at fault is rejected."""
        if part.size > 1:
            return list(part.halves())
        if not _rejects(events, part, answer):
            return [part._replace(without_lead_id=True)]
        self.result.events["rejected"] += 1
        return []

    def _expire_head(self, chunk: Chunk, events: list[bytes], part: Part) -> Part | None:
        """Expire the events of a part that became too old; they come first, since a chunk is in the order of time.

        Only where the ledger can remember it: a test run sends the newest rows, and once.
        """
        if not self._journal.is_live:
            return part
        oldest = (self._now() - self._delivery.max_event_age).timestamp()
        start = part.start
        while start < part.end and json.loads(events[start])["event_time"] < oldest:
            start += 1
        if start > part.start:
            self._journal.expire(chunk, Part(part.start, start))
            self.result.events["expired"] += start - part.start
        return part._replace(start=start) if start < part.end else None

    def _send(self, chunk: Chunk, events: list[bytes], part: Part) -> Answer:
        """Send a part until it has a clear answer or the attempts are used up."""
        body = _body_of(chunk, events, part)
        for attempt in range(1, self._delivery.attempts + 1):
            request_id = self._journal.begin_request(chunk, part, attempt=attempt)
            answer = self._client.send_events(body, events=part.size)
            rejects = _rejects(events, part, answer)
            self._journal.end_request(request_id, chunk, part, answer, rejects=rejects)
            self.result.requests += 1
            if not self._is_worth_another_try(answer):
                return answer
            if attempt < self._delivery.attempts:
                self._wait(answer, attempt)
        if answer.action is Action.RATE_LIMIT:
            raise _rate_limited(answer)
        if answer.action is Action.RETRY:
            raise MetaUnavailableError(
                f"Meta did not take chunk {chunk.chunk_no} in {self._delivery.attempts} attempts "
                f"(last: {answer.name}); what is unsent stays pending. The next try goes on from here."
            )
        return answer

    def _is_worth_another_try(self, answer: Answer) -> bool:
        match answer.action:
            case Action.AUTH | Action.CONFIGURATION:
                self._journal.stop_run(answer.name)
                raise CredentialsError(_what_to_fix(answer))
            case Action.RETRY | Action.RATE_LIMIT:
                return True
            case Action.IN_DOUBT:
                return self._delivery.on_in_doubt == "resend"
        return False

    def _wait(self, answer: Answer, attempt: int) -> None:
        """Wait with exponential back-off and full jitter, or as long as Meta says; the lease is renewed meanwhile."""
        wait_s = random.uniform(0, min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**attempt))  # noqa: S311 - jitter, no secret
        if answer.action is Action.RATE_LIMIT:
            wait_s = _rate_limit_wait_s(answer)
        if wait_s > LONGEST_WAIT_IN_TASK_S:
            raise _rate_limited(answer)
        self._journal.renew_lease()
        self._sleep(wait_s)


def _rejects(events: list[bytes], part: Part, answer: Answer) -> bool:
    """Say whether the answer is the last word on a single event; an unknown lead id can be left out once."""
    if answer.action is not Action.PAYLOAD or part.size > 1:
        return False
    is_lead_unknown = answer.subcode == SUBCODE_LEAD_UNKNOWN and not part.without_lead_id
    return not (is_lead_unknown and drop_lead_id(events[part.start]) is not None)


def _body_of(chunk: Chunk, events: list[bytes], part: Part) -> bytes:
    if part.without_lead_id:
        event = events[part.start]
        single = cut_body(chunk.body, part.start, part.end)
        return single.replace(event, drop_lead_id(event) or event, 1)
    return cut_body(chunk.body, part.start, part.end)


def _rate_limit_wait_s(answer: Answer) -> float:
    return answer.retry_after_s if answer.retry_after_s is not None else RATE_LIMIT_WAIT_S


def _rate_limited(answer: Answer) -> RateLimitedError:
    wait_s = _rate_limit_wait_s(answer)
    return RateLimitedError(
        f"Meta limits the rate of this app ({answer.name}); everything unsent stays pending for {wait_s:.0f} s.",
        retry_after_s=wait_s,
    )


def _what_to_fix(answer: Answer) -> str:
    """Return one sentence about what a person has to fix; the events stay pending."""
    trace = f" (fbtrace_id {answer.fbtrace_id})" if answer.fbtrace_id else ""
    match answer.action, answer.code:
        case Action.AUTH, 190:
            what = "Meta refuses the access token (expired or revoked): put a new one into the connection's password"
        case Action.AUTH, _:
            what = "the token has no permission for this dataset: grant its system user access in Business settings"
        case Action.CONFIGURATION, 2635:
            what = "Meta no longer serves this API version: set a newer `api_version` in the connection's extra"
        case _:
            what = "this token does not see the dataset: check `dataset_id` in the connection's extra and its access"
    return f"{answer.name}: {what}{trace}. No event is at fault; all stay pending, and the next run sends them."
