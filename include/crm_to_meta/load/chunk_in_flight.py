"""A chunk in flight: it decides what is sent of it next, what an answer means for its events, and when it is done.

A chunk has one request under way at a time, so that what one request finds out serves the next one. docs/delivery.md
explains the states that it writes down, and what a kill leaves of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from crm_to_meta.load.endings import describe_last_attempt, describe_rate_limit
from crm_to_meta.load.isolation import Isolation, Suspect
from crm_to_meta.load.resume import Part, PastRequest, State, event_states, open_parts
from crm_to_meta.meta.answers import SUBCODE_LEAD_UNKNOWN, Action, Answer
from crm_to_meta.meta.body import cut_body, drop_lead_id, split_events
from crm_to_meta.meta.pacing import back_off_s
from crm_to_meta.models import RequestOutcome, Status

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from crm_to_meta.load.isolation import Refusal
    from crm_to_meta.load.journal import Journal
    from crm_to_meta.pipeline.settings import Delivery as DeliverySettings

_OUTCOMES: Final = {
    Action.DELIVERED: RequestOutcome.DELIVERED,
    Action.PAYLOAD: RequestOutcome.PAYLOAD_REFUSED,
    Action.RETRY: RequestOutcome.NOT_PROCESSED,
    Action.REDUCE: RequestOutcome.NOT_PROCESSED,
    Action.RATE_LIMIT: RequestOutcome.RATE_LIMITED,
    Action.AUTH: RequestOutcome.STOPPED,
    Action.CONFIGURATION: RequestOutcome.STOPPED,
    Action.IN_DOUBT: RequestOutcome.IN_DOUBT,
    Action.UNKNOWN: RequestOutcome.NOT_PROCESSED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that is on record as `sending`."""

    request_id: int
    chunk: ChunkInFlight
    part: Part
    body: bytes


class ChunkInFlight:
    """A stored chunk with what is open of it.

    Attributes:
        chunk_no: its number in the run.
        refusal: the last one, as Meta's code and subcode.
        is_clear: false where Meta's answers to some events were not clear until the end.
        is_given_up: true where Meta gave an answer that nobody knows; this try sends nothing more of the chunk.
    """

    def __init__(
        self, chunk_no: int, journal: Journal, settings: DeliverySettings, count: Callable[[Status, int], None]
    ) -> None:
        """Read the chunk, with what is open of it by the requests on record and by the ledger.

        Args:
            chunk_no: its number in the run.
            journal: the record of what is sent.
            settings: attempts, margins and what happens to requests in doubt.
            count: is told how many events get which status.
        """
        self.chunk_no = chunk_no
        self.refusal: Refusal = (None, None)
        self.is_clear = True
        self.is_given_up = False
        self._journal = journal
        self._settings = settings
        self._count = count
        self._body = journal.read_chunk(chunk_no)
        self._events = split_events(self._body)
        self._search = self._resume_search()
        self._attempts: dict[Part, int] = {}  # how often each part was sent within this try
        self._is_settled = True  # nothing is in doubt that another try could still send

    @property
    def is_done(self) -> bool:
        """Say whether nothing is left to send."""
        return self._search.is_done

    @property
    def is_stuck(self) -> bool:
        """Say whether everything that was tried is refused alike, so that other chunks should go first."""
        return self._search.is_stuck

    @property
    def suspects(self) -> int:
        """Return how many events were refused alone without a confirmation."""
        return len(self._search.suspects)

    @property
    def open_events(self) -> int:
        """Return how many events are not settled."""
        return self._search.open_events

    # What is sent next ----------------------------------------------------------------------------------------------

    def begin_request(self, now: datetime) -> Request | None:
        """Write down that the next part is about to be sent, and return it; None where nothing is left.

        Raises:
            RunTakenOverError: the run, or this chunk, is somebody else's by now.
            CredentialsError: another shard has stopped the run.
            RateLimitedError: Meta asked for a pause that is not over.
        """
        part = self._next_part(oldest_s=(now - self._settings.max_event_age).timestamp())
        if part is None:
            return None
        body = self._cut_body(part)
        attempt = self._attempts.setdefault(part, 1)
        request_id = self._journal.begin_request(self.chunk_no, part, attempt=attempt)
        return Request(request_id=request_id, chunk=self, part=part, body=body)

    def _next_part(self, *, oldest_s: float) -> Part | None:
        """Return the next part, without the events that became too old; those come first, a chunk is in order of time.

        Only where the ledger can remember it: a test run sends the newest rows, and once.
        """
        while (part := self._search.next_part()) is not None:
            start = part.start
            while self._journal.is_live and start < part.end and self._event_time_s(start) < oldest_s:
                start += 1
            if start > part.start:
                self._journal.expire(self.chunk_no, Part(part.start, start))
                self._count(Status.EXPIRED, start - part.start)
            if start < part.end:
                young = part._replace(start=start)
                self._attempts[young] = self._attempts.get(part, 1)
                return young
        return None

    def _event_time_s(self, index: int) -> int:
        return int(json.loads(self._events[index])["event_time"])

    def _cut_body(self, part: Part) -> bytes:
        body = cut_body(self._body, part.start, part.end)
        if part.without_lead_id:
            event = self._events[part.start]
            return body.replace(event, drop_lead_id(event) or event, 1)
        return body

    # What an answer means -------------------------------------------------------------------------------------------

    def record(self, request: Request, answer: Answer) -> None:
        """Write down an answer and what becomes of the events, and go on with the search from there.

        Raises:
            RunTakenOverError: somebody took this worker for dead and put the request in doubt; there it stays.
        """
        part = request.part
        outcome, status = self._judge(part, answer)
        recorded = self._journal.end_request(
            request.request_id, self.chunk_no, part, answer, outcome=outcome, status=status
        )
        if answer.action is Action.PAYLOAD:
            self.refusal = (answer.code, answer.subcode)
        match outcome:
            case RequestOutcome.DELIVERED:
                self._count(Status.DELIVERED, part.size)
                self._search.mark_delivered(part)
            case RequestOutcome.REFUSED_ALONE:
                suspect = Suspect(
                    part=part,
                    refusal=self.refusal,
                    request_id=request.request_id,
                    refused_at=recorded.at,
                    fbtrace_id=answer.fbtrace_id,
                )
                self._search.mark_refused_alone(suspect)
            case RequestOutcome.PAYLOAD_REFUSED if status is not None:
                self._count(recorded.status or status, 1)
            case RequestOutcome.PAYLOAD_REFUSED if part.size > 1:
                self._search.mark_refused(part, has_subcode=answer.subcode is not None, hint=answer.place)
            case RequestOutcome.PAYLOAD_REFUSED:
                self._search.send_again(part._replace(without_lead_id=True))
        self._confirm_rejections()

    def _judge(self, part: Part, answer: Answer) -> tuple[RequestOutcome, Status | None]:
        """Return the outcome of a request, and the status that its events get from it, if any."""
        match answer.action:
            case Action.DELIVERED:
                return RequestOutcome.DELIVERED, Status.DELIVERED
            case Action.IN_DOUBT:
                return RequestOutcome.IN_DOUBT, Status.IN_DOUBT
            case Action.PAYLOAD if part.size == 1 and not self._can_drop_lead_id(part, answer):
                if self._search.confirms(part, (answer.code, answer.subcode)):
                    return RequestOutcome.PAYLOAD_REFUSED, Status.REJECTED
                return RequestOutcome.REFUSED_ALONE, None
        return _OUTCOMES[answer.action], None

    def _can_drop_lead_id(self, part: Part, answer: Answer) -> bool:
        """Say whether an event that was refused for its lead id can be sent once more without it."""
        is_lead_unknown = answer.subcode == SUBCODE_LEAD_UNKNOWN and not part.without_lead_id
        return is_lead_unknown and drop_lead_id(self._events[part.start]) is not None

    def _confirm_rejections(self) -> None:
        """Reject the events that were refused alone and are at fault beyond doubt."""
        for suspect in self._search.take_confirmed():
            self._count(self._journal.confirm_rejection(self.chunk_no, suspect), 1)

    def send_later(self, part: Part, answer: Answer) -> float:
        """Put a part back that Meta did not process, or may not have; return how many seconds nothing should be sent.

        Raises:
            RateLimitedError: Meta asked for a pause, and no attempt is left.
            MetaUnavailableError: Meta did not take the part, and no attempt is left.
        """
        attempt, attempts = self._attempts[part], self._settings.attempts
        if answer.action is Action.UNKNOWN:
            self.is_given_up, self.is_clear = True, False
        elif answer.action is Action.IN_DOUBT and self._settings.on_in_doubt == "hold":
            self._is_settled = False
        elif attempt < attempts:
            again = [part]
            if answer.action is Action.REDUCE:
                again = self._search.send_halves(part)
            else:
                self._search.send_again(part)
            self._attempts.update(dict.fromkeys(again, attempt + 1))
            return 0.0 if answer.action is Action.RATE_LIMIT else back_off_s(attempt)
        elif answer.action is Action.IN_DOUBT:
            self._is_settled = self.is_clear = False
        elif answer.action is Action.RATE_LIMIT:
            raise describe_rate_limit(answer)
        else:
            raise describe_last_attempt(answer, chunk_no=self.chunk_no, attempts=attempts)
        return 0.0

    # When it is done ------------------------------------------------------------------------------------------------

    def close(self) -> bool:
        """Make the chunk `done`, since nothing is left to send; return false where suspects wait for a confirmation."""
        self._search.finish()
        self._confirm_rejections()
        if self._search.suspects:
            return False
        if self._is_settled:
            self._journal.finish_chunk(self.chunk_no)
        return True

    def look_again(self, witness_sent_at: datetime) -> bool:
        """Go on after the chunk was put aside; return false where no refusal is older than the request that was taken.

        Args:
            witness_sent_at: when the last request of the run that Meta took was sent.
        """
        goes_on = self._search.look_again(witness_sent_at)
        self._confirm_rejections()
        return goes_on

    def _resume_search(self) -> Isolation:
        """Return the search as the requests on record and the ledger leave it."""
        past = self._journal.past_requests(self.chunk_no)
        refused = {request.part.start for request in past if request.subcode == SUBCODE_LEAD_UNKNOWN}
        droppable = (index for index in refused if drop_lead_id(self._events[index]) is not None)
        states = event_states(len(self._events), past, can_drop_lead_id=droppable)
        for index in self._journal.finished_events(self.chunk_no):
            states[index] = State.SETTLED
        return Isolation(
            open_parts(states, resend_in_doubt=self._settings.on_in_doubt == "resend"),
            trusts_subcodes=any(request.outcome is RequestOutcome.DELIVERED for request in past),
            has_rejections=any(map(_is_rejection, past)),
        )


def _is_rejection(past: PastRequest) -> bool:
    """Say whether an event was rejected for a fault that Meta named; an unknown lead id may have been left out next."""
    names_fault = past.subcode not in {None, SUBCODE_LEAD_UNKNOWN}
    return past.outcome is RequestOutcome.PAYLOAD_REFUSED and past.part.size == 1 and names_fault
