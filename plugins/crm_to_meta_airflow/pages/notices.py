"""What a page says after a decision: read from the address that the decision leads back to, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crm_to_meta.ledger.doubts import Decision

if TYPE_CHECKING:
    from collections.abc import Mapping


def notice_of(query: Mapping[str, str]) -> str:
    """Return the sentence about a decision that was just made; empty where there was none."""
    decision, settled = query.get("decision", ""), query.get("settled", "")
    if decision not in set(Decision) or not (settled.isascii() and settled.isdigit() and len(settled) <= 9):  # noqa: PLR2004 - a count
        return ""
    if not int(settled):
        return "Nothing was changed: none of these events was in doubt any more. Somebody else may have decided."
    events = "1 event is" if int(settled) == 1 else f"{int(settled):,} events are"
    outcome = {Decision.ARRIVED: "on record as delivered", Decision.SEND: "to be sent by the next run"}
    return f"{events} now {outcome[Decision(decision)]}."
