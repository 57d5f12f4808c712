"""Read Meta's own ids from a CRM's text: lead id, click id and browser id, or the reason to drop one.

They are sent as they are: never hashed, never repaired.
"""

from __future__ import annotations

import re
from typing import Final

from crm_to_meta.meta.lead_id import read_lead_id
from crm_to_meta.models import DropReason
from crm_to_meta.transform.fields.text import clean


def normalize_lead_id(text: str) -> int | DropReason:
    """Read `lead_id` exactly, as `read_lead_id` does."""
    lead_id = read_lead_id(text)
    if lead_id is not None:
        return lead_id
    return DropReason.LEAD_ID_INVALID if text.strip() else DropReason.BLANK


# ClickID and the fbp and fbc Parameters: "fb", subdomain index, milliseconds (13 digits), id. Cookies that the builder
# wrote have one more part.
_FBC: Final = re.compile(r"fb\.[0-9]\.[1-9][0-9]{12}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)?")
_FBP: Final = re.compile(r"fb\.[0-9]\.[1-9][0-9]{12}\.[0-9]+(?:\.[A-Za-z0-9_-]+)?")
_SERVER_SUBDOMAIN_INDEX: Final = 1


def normalize_fbc(text: str) -> str | DropReason:
    """Check `fbc` (ClickID and the fbp and fbc Parameters): trimmed, case kept. Many malformed ones alarm Meta."""
    value = clean(text)
    if not value:
        return DropReason.BLANK
    return value if _FBC.fullmatch(value) else DropReason.FBC_MALFORMED


def normalize_fbp(text: str) -> str | DropReason:
    """Check `fbp` (ClickID and the fbp and fbc Parameters): trimmed. Malformed ones are dropped."""
    value = clean(text)
    if not value:
        return DropReason.BLANK
    return value if _FBP.fullmatch(value) else DropReason.FBP_MALFORMED


def build_fbc(fbclid: str, created_at_unix_ms: int) -> str | DropReason:
    """Build `fbc` (same page) from the click id of a URL, case kept, and the millisecond at which it was first seen."""
    click_id = clean(fbclid)
    if not click_id:
        return DropReason.BLANK
    return normalize_fbc(f"fb.{_SERVER_SUBDOMAIN_INDEX}.{created_at_unix_ms}.{click_id}")
