"""Check the events of a request, and raise `RefusedError` for the first fault found.

STRICT marks faults that Meta accepts, or is not known to refuse, but then silently does not count or match. This
project must never send them. Each limit names Meta's page that states it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from crm_to_meta_demo.meta_stand_in import answers
from crm_to_meta_demo.meta_stand_in.answers import malformed_event, refused_event, unexpected_key

MAX_AGE_S: Final = 7 * 24 * 60 * 60  # "Server Event Parameters": 7 days; the 62 days are for physical_store only
MAX_AHEAD_S: Final = 60  # not in Meta's pages; third parties refuse more than a minute ahead
LEAD_ID_DIGITS: Final = range(15, 17 + 1)  # "Payload Specification" (older pages: 15 to 16)
ACTION_SOURCE: Final = "system_generated"  # "Payload Specification"
EVENT_SOURCE: Final = "crm"  # "Payload Specification"

EVENT_KEYS: Final = frozenset({  # "Server Event Parameters", less what only web, app and messaging events have
    "event_name", "event_time", "event_id", "action_source", "user_data", "custom_data", "opt_out",
    "data_processing_options", "data_processing_options_country", "data_processing_options_state",
})  # fmt: skip
HASHED_KEYS: Final = frozenset({  # "Customer Information Parameters"; for external_id hashing is only advised: STRICT
    "em", "ph", "fn", "ln", "ge", "db", "ct", "st", "zp", "country", "external_id",
})  # fmt: skip
PLAIN_KEYS: Final = frozenset({  # "Customer Information Parameters": never hashed
    "client_ip_address", "client_user_agent", "fbc", "fbp", "subscription_id", "fb_login_id", "lead_id", "anon_id",
    "madid", "page_id", "page_scoped_user_id", "ctwa_clid", "ig_account_id", "ig_sid",
})  # fmt: skip
USER_DATA_KEYS: Final = HASHED_KEYS | PLAIN_KEYS
WEAK_COMBINATIONS: Final = (  # "Best Practices": these alone, or a part of them, match nobody
    frozenset({"ct", "country", "st", "zp", "ge", "client_user_agent"}),
    frozenset({"db", "client_user_agent"}),
    frozenset({"fn", "ge"}),
    frozenset({"ln", "ge"}),
)

SHA256: Final = re.compile(r"[0-9a-f]{64}")
CLICK_IDS: Final = {  # "ClickID and the fbp and fbc Parameters": fb.<subdomain index>.<milliseconds>.<id>
    "fbc": re.compile(r"fb\.[0-2]\.\d{13}\.\S+"),
    "fbp": re.compile(r"fb\.[0-2]\.\d{13}\.\d+(\.\S+)?"),
}
CURRENCY: Final = re.compile(r"[A-Za-z]{3}")  # "Server Event Parameters": ISO 4217
# No normalisation returns these, since it trims and lowercases: an empty field or a printed NULL was hashed.
NOT_VALUES: Final = ("", " ", "None", "NULL", "NaN", "NaT", "<NA>", "N/A")
HASHES_OF_NOTHING: Final = frozenset(hashlib.sha256(text.encode()).hexdigest() for text in NOT_VALUES)


@dataclass(frozen=True, slots=True)
class EventRules:
    """What the checks need to know apart from the events."""

    now_unix_s: int
    deleted_lead_ids: AbstractSet[int] = frozenset()
    poisoned_event_ids: Mapping[str, int] = field(default_factory=dict)


def check_events(events: Sequence[object], rules: EventRules) -> None:
    for index, event in enumerate(events):
        check_event(index, event, rules)


def check_event(index: int, event: object, rules: EventRules) -> None:
    if not isinstance(event, dict):
        raise malformed_event(index, why="is not an object")
    check_keys(event, EVENT_KEYS, place=answers.name_place(index))
    check_text(index, event, "event_name")
    check_text(index, event, "event_id")  # STRICT: optional for Meta, required by this project
    check_time(index, event, rules.now_unix_s)
    custom_data = check_origin(index, event)
    check_money(index, custom_data, is_purchase=event["event_name"] == "Purchase")
    check_customer(index, event)
    check_known_bad(index, event, rules)


def check_keys(members: Iterable[str], known: AbstractSet[str], *, place: str) -> None:
    for key in members:
        if key not in known:
            raise unexpected_key(key, place)


def check_text(index: int, event: Mapping[str, object], key: str) -> None:
    value = event.get(key)
    if not isinstance(value, str) or not value.strip():
        raise malformed_event(index, key, why="must be a text that is not empty")


def check_time(index: int, event: Mapping[str, object], now_unix_s: int) -> None:
    event_time_unix_s = event.get("event_time")
    if type(event_time_unix_s) is not int:  # not a bool, float or text either
        raise malformed_event(index, "event_time", why="must be whole seconds since 1970")
    if event_time_unix_s < now_unix_s - MAX_AGE_S:
        raise refused_event(answers.EVENT_TOO_OLD)
    if event_time_unix_s > now_unix_s + MAX_AHEAD_S:
        raise refused_event(answers.EVENT_IN_FUTURE)


def check_origin(index: int, event: Mapping[str, object]) -> dict[str, object]:
    """Return the custom_data. STRICT: Meta accepts other values here, but does not count the event as a lead's."""
    if event.get("action_source") != ACTION_SOURCE:
        raise malformed_event(index, "action_source", why=f"must be {ACTION_SOURCE}")
    custom_data = event.get("custom_data")
    if not isinstance(custom_data, dict):
        raise malformed_event(index, "custom_data", why="must be an object")
    if custom_data.get("event_source") != EVENT_SOURCE:
        raise malformed_event(index, "custom_data", "event_source", why=f"must be {EVENT_SOURCE}")
    lead_event_source = custom_data.get("lead_event_source")
    if not isinstance(lead_event_source, str) or not lead_event_source.strip():
        raise malformed_event(index, "custom_data", "lead_event_source", why="must name the CRM")
    return custom_data


def check_money(index: int, custom_data: Mapping[str, object], *, is_purchase: bool) -> None:
    value, currency = custom_data.get("value"), custom_data.get("currency")
    if value is None and is_purchase:
        raise refused_event(answers.PURCHASE_WITHOUT_VALUE)
    if "value" in custom_data and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise malformed_event(index, "custom_data", "value", why="must be a number")
    if "value" in custom_data and currency is None:
        raise refused_event(answers.VALUE_WITHOUT_CURRENCY)
    if "currency" in custom_data and not (isinstance(currency, str) and CURRENCY.fullmatch(currency)):
        raise malformed_event(index, "custom_data", "currency", why="must be a three-letter currency code")


def check_customer(index: int, event: Mapping[str, object]) -> None:
    user_data = event.get("user_data", {})
    if not isinstance(user_data, dict):
        raise malformed_event(index, "user_data", why="must be an object")
    check_keys(user_data, USER_DATA_KEYS, place=answers.name_place(index, "user_data"))
    for key, value in user_data.items():
        if key in HASHED_KEYS:
            check_hashes(index, key, value)
        elif key == "lead_id":
            check_lead_id(index, value)
        else:
            check_plain(index, key, value)
    if any(user_data.keys() <= weak for weak in WEAK_COMBINATIONS):
        raise refused_event(answers.CUSTOMER_TOO_WEAK)


def check_hashes(index: int, key: str, value: object) -> None:
    """Check for one lowercase SHA-256 or a list of them: no MD5, no clear text, no hash of an empty value."""
    hashes = value if isinstance(value, list) else [value]
    if not hashes:
        raise malformed_event(index, "user_data", key, why="must not be an empty list")
    for one in hashes:
        if not isinstance(one, str) or not SHA256.fullmatch(one):
            raise malformed_event(index, "user_data", key, why="must be SHA-256 in 64 lowercase hex digits")
        if one in HASHES_OF_NOTHING:  # STRICT
            raise malformed_event(index, "user_data", key, why="is the hash of an empty value")


def check_lead_id(index: int, value: object) -> None:
    """Check the lead id. STRICT for the type: Meta's example is an integer, and a text is not confirmed."""
    if type(value) is not int:
        raise malformed_event(index, "user_data", "lead_id", why="must be an integer")
    if len(str(value)) not in LEAD_ID_DIGITS or value < 0:
        raise refused_event(answers.LEAD_ID_INVALID)


def check_plain(index: int, key: str, value: object) -> None:
    """Check a field that is not hashed.

    STRICT: Meta accepts malformed click ids, and warns if there are many. A hash in these fields matches nobody.
    """
    if not isinstance(value, str) or not value.strip():
        raise malformed_event(index, "user_data", key, why="must be a text that is not empty")
    if key in CLICK_IDS and not CLICK_IDS[key].fullmatch(value):
        raise malformed_event(index, "user_data", key, why="must have the form fb.1.<milliseconds>.<id>")
    if SHA256.fullmatch(value.lower()):
        raise malformed_event(index, "user_data", key, why="must not be hashed")


def check_known_bad(index: int, event: Mapping[str, object], rules: EventRules) -> None:
    """Refuse what only Meta can know: deleted leads, and the events that a test declared to be poisoned."""
    user_data = event.get("user_data")
    if isinstance(user_data, dict) and user_data.get("lead_id") in rules.deleted_lead_ids:
        raise refused_event(answers.LEAD_ID_INVALID)
    subcode = rules.poisoned_event_ids.get(str(event["event_id"]))
    if subcode == answers.EVENT_MALFORMED:  # here Meta names the place
        raise malformed_event(index, why="cannot be read")
    if subcode is not None:
        raise refused_event(subcode)
