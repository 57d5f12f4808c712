"""Describe a preview run as text: a few events, what was left out of them and why, and a curl command to send them.

The text contains hashes, Meta's lead ids, names of fields and reasons, but no raw value: events with a click id, which
is sent unhashed, are not shown. The token comes from the reader's shell.
"""

from __future__ import annotations

import json
import shlex
import zlib
from typing import TYPE_CHECKING, Any, Final

from crm_to_meta.meta.body import build_body, split_events
from crm_to_meta.reasons import explain_drop
from crm_to_meta.warehouse import Connection, execute

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SHOWN_EVENTS: Final = 3
_UNHASHED: Final = (b'"fbc":', b'"fbp":')

_Dropped = dict[str, dict[str, list[int]]]


def describe_preview(connection: Connection, run_key: str, *, events_url: str, shard_no: int | None = None) -> str:
    """Describe the newest events of a run, or of one of its shards.

    Args:
        connection: to the warehouse.
        run_key: the run.
        events_url: where the events would be sent.
        shard_no: show only events of this shard.
    """
    scope = {"run_key": run_key, "shard_no": shard_no}
    chunk = execute(connection, "report/preview_read_chunk", scope).fetchone()
    if chunk is None:
        return "Preview: there is no event to send."
    body, dropped, total = zlib.decompress(chunk[0]), chunk[1], chunk[2]
    events = split_events(body)
    places = choose_events(find_shareable(events), dropped)
    shown = [events[place].decode() for place in places]
    request = [
        "The request for these events, byte for byte. Running it sends them, and the ledger will not know that:",
        "",
        write_curl(events_url, build_body(shown).decode()),
    ]
    lines = [
        f"Preview: {total:,} events would be sent; nothing was. {len(shown)} of the newest without a click id:",
        *(describe_event(json.loads(events[place]), list_drops(dropped, place)) for place in places),
        "",
        *_describe_fields(execute(connection, "report/preview_sum_fields", scope).fetchall()),
        *(request if shown else []),
    ]
    return "\n".join(lines)


def find_shareable(events: Sequence[bytes]) -> list[int]:
    """Return the places of the events that may be shown: those without a click id, which is sent unhashed."""
    return [place for place, event in enumerate(events) if not any(name in event for name in _UNHASHED)]


def choose_events(shareable: Sequence[int], dropped: _Dropped, *, at_most: int = SHOWN_EVENTS) -> list[int]:
    """Choose some of the events that may be shown: first those that lack a field, then the newest."""
    listed = {place for reasons in dropped.values() for places in reasons.values() for place in places}
    telling = sorted(listed & set(shareable), reverse=True)
    chosen = [*telling[: at_most - 1], *reversed(shareable)]
    return sorted(list(dict.fromkeys(chosen))[:at_most])


def list_drops(dropped: _Dropped, place: int) -> dict[str, str]:
    """Return the fields that were left out of an event, and the reason for each."""
    return {
        field: reason for field, reasons in dropped.items() for reason, places in reasons.items() if place in places
    }


def describe_event(event: Mapping[str, Any], drops: Mapping[str, str]) -> str:
    """Describe an event in a line: its id and name, the fields that identify the lead, and the fields left out."""
    left_out = ", ".join(f"{field} ({explain_drop(reason)})" for field, reason in drops.items())
    return (
        f"  {event['event_id']}  {event['event_name']}: {', '.join(event['user_data'])}"
        f"{f'; left out: {left_out}' if left_out else ''}"
    )


def write_curl(events_url: str, body: str) -> str:
    """Return a curl command that posts a body, with the token from the shell's META_ACCESS_TOKEN in a header."""
    return (
        f"curl -X POST {shlex.quote(events_url)} \\\n"
        '  -H "Authorization: Bearer $META_ACCESS_TOKEN" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        f"  --data-binary @- <<'EVENTS'\n{body}\nEVENTS"
    )


def _describe_fields(counts: list[tuple[str, str, int]]) -> Iterator[str]:
    """Describe for each field how many values were used, and how many were left out for which reason."""
    fields: dict[str, dict[str, int]] = {}
    for field, outcome, number in counts:
        fields.setdefault(field, {})[outcome] = number
    yield "Values used and left out, by field:"
    for field, outcomes in fields.items():
        left_out = "".join(
            f"; {number:,} left out: {explain_drop(reason)}"
            for reason, number in outcomes.items()
            if reason != "usable"
        )
        yield f"  {field:<12}{outcomes.get('usable', 0):>9,} used{left_out}"
    yield ""
