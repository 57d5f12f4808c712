"""Looks for personal values in texts, beside what only looks like one: digits occur by chance in hashes and ids."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_HEX: Final = "[0-9a-fA-F]"
_INNOCENT: Final = re.compile(
    rf"(?<!{_HEX}){_HEX}{{64}}(?!{_HEX})"  # SHA-256
    rf"|(?<!{_HEX}){_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}(?!{_HEX})"  # UUID
    rf"|\\x{_HEX}{{64,}}"  # packed bytes as PostgreSQL writes them
    r"|\bA[\w-]{22}(?![\w-])"  # trace id of the stand-in
)


def find_leaks(text: str, values: Iterable[str], *, lead_ids: Iterable[int | str | None] = ()) -> list[str]:
    """Return the values that are in a text, in whatever case.

    Args:
        text: where to look.
        values: what to look for; none of them may look like a hash or an id itself.
        lead_ids: which Meta gets as they are, so that the text may hold them.
    """
    sought = {value: value.casefold() for value in values}
    assert not [value for value in sought if _INNOCENT.search(value)]
    known = {str(lead_id) for lead_id in lead_ids}
    rest = re.sub(r"\d{14,}", lambda found: " " if found[0] in known else found[0], _INNOCENT.sub(" ", text))
    folded = rest.casefold()
    return [value for value, small in sought.items() if small in folded]
