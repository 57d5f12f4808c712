"""Meta's limits, each with the page of Meta's documentation that states it."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

META_MAX_EVENTS_PER_REQUEST: Final = 1_000  # "Using the API": at most 1,000 events in `data`
META_MAX_EVENT_AGE: Final = timedelta(days=7)  # "Server Event Parameters": event_time up to 7 days before the request
META_DEDUPLICATION_WINDOW: Final = timedelta(hours=48)  # "Handling Duplicate Events": the same event_id within 48 h
# "Data Processing Options for US Users": the states that Limited Data Use can be asked for
LIMITED_DATA_USE_STATES: Final = {
    1000: "California", 1001: "Colorado", 1002: "Connecticut", 1003: "Florida", 1004: "Oregon", 1005: "Texas",
    1006: "Montana", 1007: "Delaware", 1008: "Nebraska", 1009: "New Hampshire", 1010: "New Jersey", 1011: "Minnesota",
    1012: "Maryland", 1013: "Rhode Island",
}  # fmt: skip
