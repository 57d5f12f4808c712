"""A chunk that is being sent: what is known of it in, the bodies of its requests out."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from crm_to_meta.load.isolation import Isolation, Refusal
from crm_to_meta.load.journal import Chunk, Consequence, Journal
from crm_to_meta.load.resume import Part, PastRequest, State, event_states, open_parts
from crm_to_meta.meta.answers import SUBCODE_LEAD_UNKNOWN, Action, Answer
from crm_to_meta.meta.body import cut_body, drop_lead_id, split_events


@dataclass(slots=True, kw_only=True)
class Delivery:
    """A chunk with what is open of it. One request at a time, so that what is found out serves the next one.

    Attributes:
        chunk: as it was stored.
        events: the JSON of each.
        search: which part is sent next.
        attempts: how often each part was sent within this try.
        refusal: the last one, as Meta's code and subcode.
        is_settled: false where something stays in doubt that another try could still send.
        is_clear: false where the attempts ended without a clear answer.
    """

    chunk: Chunk
    events: list[bytes]
    search: Isolation
    attempts: dict[Part, int] = field(default_factory=dict)
    refusal: Refusal = (None, None)
    is_settled: bool = True
    is_clear: bool = True

    def event_time(self, index: int) -> int:
        """Return an event's time as Unix seconds."""
        return int(json.loads(self.events[index])["event_time"])

    def body_of(self, part: Part) -> bytes:
        """Return the body of a part's request."""
        body = cut_body(self.chunk.body, part.start, part.end)
        if part.without_lead_id:
            event = self.events[part.start]
            return body.replace(event, drop_lead_id(event) or event, 1)
        return body

    def consequence_of(self, part: Part, answer: Answer) -> Consequence:
        """Return what an answer means where it is a refusal; an unknown lead id can be left out once."""
        if answer.action is not Action.PAYLOAD or part.size > 1:
            return Consequence.SEARCH_ON
        is_lead_unknown = answer.subcode == SUBCODE_LEAD_UNKNOWN and not part.without_lead_id
        if is_lead_unknown and drop_lead_id(self.events[part.start]) is not None:
            return Consequence.SEARCH_ON
        is_confirmed = self.search.confirms(part, (answer.code, answer.subcode))
        return Consequence.REJECT if is_confirmed else Consequence.SUSPECT


def read_delivery(journal: Journal, chunk_no: int, *, resend_in_doubt: bool) -> Delivery:
    """Return a stored chunk with what is open of it, by the requests on record and by the ledger."""
    chunk = journal.read_chunk(chunk_no)
    events = split_events(chunk.body)
    past = journal.past_requests(chunk_no)
    refused = {request.part.start for request in past if request.subcode == SUBCODE_LEAD_UNKNOWN}
    states = event_states(
        len(events), past, can_drop_lead_id=(index for index in refused if drop_lead_id(events[index]) is not None)
    )
    for index in journal.finished_events(chunk):
        states[index] = State.SETTLED
    parts = open_parts(states, resend_in_doubt=resend_in_doubt)
    search = Isolation(
        parts,
        trusts_subcodes=any(request.outcome == "delivered" for request in past),
        has_rejections=any(map(_is_rejection, past)),
    )
    return Delivery(chunk=chunk, events=events, search=search)


def _is_rejection(past: PastRequest) -> bool:
    """Say whether an event was rejected for a fault that Meta named; an unknown lead id may have been left out next."""
    names_fault = past.subcode not in {None, SUBCODE_LEAD_UNKNOWN}
    return past.outcome == "payload_refused" and past.part.size == 1 and names_fault
