"""Build request bodies from events, take them apart, and cut parts out of them.

Each event stands on a line of its own. JSON strings hold no raw line break, so a body can be cut into its events, and a
part of it sent, byte for byte as it was built.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEAD: Final = b'{"data":[\n'
_BETWEEN: Final = b",\n"
_FOOT: Final = b"\n]"


def build_body(events: Sequence[str], *, test_event_code: str | None = None, partner_agent: str = "") -> bytes:
    """Return the body of one request.

    Args:
        events: JSON of each event, in one line of ASCII.
        test_event_code: makes Meta show the events under "Test events".
        partner_agent: what an agency or platform agreed on with Meta; empty without one.
    """
    members = {"test_event_code": test_event_code, "partner_agent": partner_agent}
    tail = "".join(f',"{name}":{json.dumps(value)}' for name, value in members.items() if value)
    # One string, encoded once: bodies are large, and adding pieces up took ten times as long.
    return f"{_HEAD.decode()}{_BETWEEN.decode().join(events)}{_FOOT.decode()}{tail}}}".encode()


def split_events(body: bytes) -> list[bytes]:
    """Return the JSON of each event of a body that `build_body` made."""
    return body[len(_HEAD) : body.rindex(_FOOT)].split(_BETWEEN)


def cut_body(body: bytes, start: int, end: int) -> bytes:
    """Return the body with events `start` to `end` (not included) only, each byte as it was."""
    events = split_events(body)
    if (start, end) == (0, len(events)):
        return body
    return _HEAD + _BETWEEN.join(events[start:end]) + body[body.rindex(_FOOT) :]


def drop_lead_id(event: bytes) -> bytes | None:
    """Return the event without its lead id, or None where neither e-mail nor phone would be left to match it by."""
    fields = json.loads(event)
    user_data = fields["user_data"]
    if "lead_id" not in user_data or not ({"em", "ph"} & user_data.keys()):
        return None
    del user_data["lead_id"]
    return encode_event(fields)


def encode_event(event: dict[str, object]) -> bytes:
    """Return an event as one line of ASCII JSON."""
    return write_json(event).encode()


def write_json(value: object) -> str:
    """Write a value as events have it: ASCII JSON without blanks."""
    return json.dumps(value, separators=(",", ":"))
