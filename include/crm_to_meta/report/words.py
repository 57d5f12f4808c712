"""The texts of the report for statuses (in the order of its charts), modes, outcomes, fields, severities and steps."""

from __future__ import annotations

from typing import Final, NamedTuple

from crm_to_meta.models import Mode, Status


class Words(NamedTuple):
    """A name and one plain sentence."""

    name: str
    meaning: str


STATUS_WORDS: Final[dict[Status, Words]] = {
    Status.DELIVERED: Words("Delivered", "Meta confirmed that it received the event."),
    Status.PENDING: Words("Pending", "Not sent yet. The next run sends it, unless it is too old for Meta by then."),
    Status.IN_DOUBT: Words("In doubt", "Sent, but no clear answer came back: Meta may or may not have it."),
    Status.QUARANTINED: Words("Quarantined", "Held back before sending because something in the row is wrong."),
    Status.REJECTED: Words("Rejected", "Meta refused this event; the events around it were sent without it."),
    Status.EXPIRED: Words("Expired", "Older than Meta accepts, so it was not sent."),
    Status.SKIPPED: Words("Skipped", "Left out on purpose: the lead opted out, or the pipeline skips the stage."),
}
STATUS_ORDER: Final = (
    Status.DELIVERED,
    Status.PENDING,
    Status.IN_DOUBT,
    Status.QUARANTINED,
    Status.REJECTED,
    Status.EXPIRED,
    Status.SKIPPED,
)
PREVIEW_PENDING: Final = Words("Ready", "Built exactly as a live run would send it. Nothing was sent.")
UNBUILT: Final = Words("Not built", "The run ended before it built events from these rows.")
TEST_DELIVERED: Final = Words("Delivered", "Meta received it as a test event. The ledger was not changed.")
HANDED_OVER: Final = Words("Handed over", "A later run took over these rows and counts them.")
UNCOUNTED_WORDS: Final = {
    "running": Words(
        "Not counted yet", "The run is still working on these rows, or its audit has not counted them yet."
    ),
    "abandoned": Words("Not counted", "The run ended before its audit counted these rows."),
}
UNCOUNTED_DEFECT: Final = Words("Unaccounted for", "No status is on record for these rows. Please report this defect.")

MODE_WORDS: Final[dict[Mode, Words]] = {
    Mode.LIVE: Words("Live", "Events were sent to Meta."),
    Mode.TEST: Words(
        "Test run",
        "A small sample was sent to Meta with a test code. It appears under Test events in Events Manager; Meta may "
        "also use it for measurement. The ledger was not changed: a live run sends these stage changes again.",
    ),
    Mode.PREVIEW: Words(
        "Preview",
        "Nothing was sent. The events were built byte for byte as a live run would send them. The ledger was not "
        "changed.",
    ),
}

STATE_NAMES: Final = {
    "running": "Still running",
    "succeeded": "Succeeded",
    "failed": "Failed",
    "abandoned": "Given up",
}

OUTCOME_WORDS: Final = {
    "delivered": Words("Delivered", "Meta accepted all events of the request."),
    "payload_refused": Words(
        "Refused", "Meta refused the whole request because of an event in it; several events are sent again in parts."
    ),
    "refused_alone": Words(
        "Refused, unconfirmed", "Meta refused a single event, but also all else that was tried: it is not rejected yet."
    ),
    "not_processed": Words(
        "Not processed", "Meta accepted none for now. They were tried again or wait for the next run."
    ),
    "rate_limited": Words("Asked to wait", "Meta limits how often it may be called."),
    "stopped": Words("Stopped", "The token, permission or dataset was wrong, not an event. The run stopped sending."),
    "in_doubt": Words("In doubt", "No clear answer: the events may or may not have arrived."),
    "sending": Words("No answer yet", "Still waiting for the answer, or the worker died while waiting."),
}

FIELD_WORDS: Final = {  # in the order of Meta's priorities: "Payload Specification"
    "lead_id": Words("Meta's lead id", "highest"),
    "fbc": Words("Click id", "highest"),
    "em": Words("Email", "highest"),
    "ph": Words("Phone", "high"),
    "fn": Words("First name", "medium"),
    "ln": Words("Last name", "medium"),
    "ge": Words("Gender", "medium"),
    "db": Words("Date of birth", "medium"),
    "ct": Words("City", "medium"),
    "st": Words("State or region", "medium"),
    "zp": Words("Post code", "medium"),
    "country": Words("Country", "medium"),
    "external_id": Words("Your own id", "medium"),
    "fbp": Words("Browser id", "medium"),
}

OWN_REMEDY: Final = "Fix the source, or change the rule under `quality.expectations` in the pipeline file."
BATCH_SEVERITY_WORDS: Final = {
    "critical": Words("Critical", "stops the run before anything is sent"),
    "warning": Words("Warning", "is reported; the run continues"),
    "info": Words("Info", "is only counted"),
}
SEVERITY_WORDS: Final = {
    "critical": Words("Critical", "one row that breaks it stops the run before anything is sent"),
    "warning": Words("Warning", "holds the row back; the others are sent"),
    "info": Words("Info", "leaves the row out; nothing is wrong with it"),
}

STEPS: Final = ("extract", "validate", "transform", "load", "audit")
STEP_MEANINGS: Final = {
    "extract": "picks the rows",
    "validate": "checks them",
    "transform": "hashes and packs them",
    "load": "sends them to Meta",
    "audit": "counts everything",
}


def status_words(mode: Mode, status: Status) -> Words:
    """Return the name and meaning of a status in a mode."""
    if mode is Mode.PREVIEW and status is Status.PENDING:
        return PREVIEW_PENDING
    if mode is Mode.TEST and status is Status.DELIVERED:
        return TEST_DELIVERED
    return STATUS_WORDS[status]
