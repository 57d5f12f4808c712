"""A row of the sample CRM, with the fields of the source contract in the order of the table's columns."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal

LEAD_ID_DIGITS = (15, 16, 17)  # Meta: Conversions API, Conversion Leads integration, payload specification
DELETED_ENDING = "00404"  # the stand-in for Meta treats lead ids as deleted if they end so


@dataclass(frozen=True, slots=True)
class SampleTransition:
    """A lead's change to a stage, as a CRM records it. Each text may be untidy, wrong or missing.

    `event_time` and `lead_created_at` are in UTC. `lead_id` is text, so that 17 digits stay exact.
    """

    transition_id: str | None
    lead_id: str | None
    stage: str | None
    event_time: datetime | None
    lead_created_at: datetime
    email: str | None = None
    phone: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    gender: str | None = None
    date_of_birth: str | None = None
    city: str | None = None
    state: str | None = None
    zip: str | None = None
    country: str | None = None
    external_id: str | None = None
    fbclid: str | None = None
    fbp: str | None = None
    value: Decimal | None = None
    currency: str | None = None
    opted_out: bool = False


COLUMNS = tuple(field.name for field in fields(SampleTransition))
