"""Build answers in Meta's format: status, headers and body.

Codes, subcodes and members follow Meta's pages "Handle Errors" and "Error Reference", and answers recorded in public;
the sentences are our own. They contain no value that was sent, only places such as `$['data'][3]['user_data']['em']`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Ending = Literal["complete", "reset", "cut"]

INVALID_PARAMETER: Final = 100  # Meta, "Error Reference"
INVALID_TOKEN: Final = 190  # Meta, "Handle Errors"
PERMISSION_MISSING: Final = 200  # Meta, "Handle Errors"
UNUSABLE_VERSION: Final = 2635  # Meta, "Error Reference"
UNCLASSIFIED: Final = 5  # in none of Meta's documented classes: a client has to stop and show it

TOKEN_EXPIRED: Final = 463  # Meta, "Handle Errors"
OBJECT_MISSING: Final = 33  # recorded answer: unknown dataset id, or no permission for it
EVENT_TOO_OLD: Final = 2804003  # recorded answer
EVENT_IN_FUTURE: Final = 2804004  # third party
PURCHASE_WITHOUT_VALUE: Final = 2804009  # third party
EVENT_MALFORMED: Final = 2804019  # recorded answer, names the place
VALUE_WITHOUT_CURRENCY: Final = 2804023  # third party
LEAD_ID_INVALID: Final = 2804036  # recorded answer
CUSTOMER_TOO_WEAK: Final = 2804050  # recorded answer; Meta, "Best Practices"

USER_TEXTS: Final[Mapping[int, tuple[str, str]]] = {
    EVENT_TOO_OLD: ("Event too old", "An event happened longer ago than the 7 days that are accepted."),
    EVENT_IN_FUTURE: ("Event in the future", "An event carries a time that has not come yet."),
    PURCHASE_WITHOUT_VALUE: ("Purchase without value", "A Purchase event needs custom_data.value."),
    VALUE_WITHOUT_CURRENCY: ("Value without currency", "An event with custom_data.value needs custom_data.currency."),
    LEAD_ID_INVALID: (
        "Lead id not valid",
        "At least one lead id is malformed, unknown or deleted. The whole batch is refused.",
    ),
    CUSTOMER_TOO_WEAK: ("Too little customer data", "The user_data of an event cannot be matched to anybody."),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client gets: the whole answer, half of it (`cut`), or a connection reset (`reset`)."""

    status: int
    body: bytes = b""
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    ending: Ending = "complete"


class RefusedError(Exception):
    """The request is refused as a whole; none of its events is processed."""

    def __init__(
        self,
        message: str,
        *,
        code: int,
        subcode: int | None = None,
        error_type: str = "OAuthException",
        user_texts: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.code, self.subcode, self.error_type = message, code, subcode, error_type
        self.user_texts = user_texts

    def to_answer(self) -> Answer:
        """Return an HTTP 400, Meta's status for every refusal that is not an outage."""
        error: dict[str, object] = {"message": self.message, "type": self.error_type, "code": self.code}
        if self.subcode is not None:
            error |= {"error_subcode": self.subcode, "is_transient": False}
        if self.user_texts is not None:
            error |= {"error_user_title": self.user_texts[0], "error_user_msg": self.user_texts[1]}
        return json_answer(400, {"error": error | {"fbtrace_id": make_trace_id()}})


def json_answer(status: int, body: object, *, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status=status, body=json.dumps(body).encode(), headers=headers or {})


def success(events_received: int) -> Answer:
    return json_answer(200, {"events_received": events_received, "messages": [], "fbtrace_id": make_trace_id()})


def make_trace_id() -> str:
    return "A" + secrets.token_urlsafe(16)


def name_place(index: int, *members: str) -> str:
    """Return a place in the way Meta names it: `$['data'][3]['user_data']`."""
    return f"$['data'][{index}]" + "".join(f"['{member}']" for member in members)


def invalid_request(why: str) -> RefusedError:
    return RefusedError(f"(#100) {why}", code=INVALID_PARAMETER)


def unexpected_key(key: str, place: str) -> RefusedError:
    """Return the refusal of an unknown key, which Meta sends without a subcode [recorded answer]."""
    return RefusedError(f'(#100) Unexpected key "{key}" on param "{place}".', code=INVALID_PARAMETER)


def malformed_event(index: int, *members: str, why: str) -> RefusedError:
    texts = ("Server side parameter error", f"{name_place(index, *members)} {why}.")
    return RefusedError("Invalid parameter", code=INVALID_PARAMETER, subcode=EVENT_MALFORMED, user_texts=texts)


def refused_event(subcode: int) -> RefusedError:
    """Return a refusal with its own subcode. Meta does not say which event is at fault: the client has to search."""
    texts = USER_TEXTS.get(subcode, ("Event refused", "At least one event of the batch is refused."))
    return RefusedError("Invalid parameter", code=INVALID_PARAMETER, subcode=subcode, user_texts=texts)


def read_error_codes(body: bytes) -> tuple[int | None, int | None]:
    """Return code and subcode of an error body; (None, None) for any other body, such as HTML or half a body."""
    try:
        error = json.loads(body)["error"]
        return error.get("code"), error.get("error_subcode")
    except (ValueError, TypeError, KeyError, AttributeError):
        return None, None
