"""Meta's id of a lead."""

from __future__ import annotations

import re
from typing import Final

# 15-17 digits: Conversion Leads Payload Specification. No leading zero: an integer could not keep it. Written so that
# Python and PostgreSQL read it alike.
LEAD_ID_PATTERN: Final = "[1-9][0-9]{14,16}"
_LEAD_ID: Final = re.compile(rf"\s*(?:l:)?\s*({LEAD_ID_PATTERN})\s*")


def read_lead_id(text: str) -> int | None:
    """Return the id exactly, without blanks around it and the `l:` of Meta's CSV exports; None where it is none."""
    found = _LEAD_ID.fullmatch(text)
    return int(found[1]) if found else None
