"""The report's vocabulary: what statuses, outcomes, fields and severities are called in plain words."""

from __future__ import annotations

from typing import Final, NamedTuple

from crm_to_meta.models import Mode, Status


class Words(NamedTuple):
    """A name and one plain sentence."""

    name: str
    meaning: str


STATUS_WORDS: Final[dict[Status, Words]] = {
    Status.DELIVERED: Words("Delivered", "Meta has confirmed that it received the event."),
    Status.PENDING: Words("Pending", "Not sent yet. The next run sends it, unless it is too old for Meta by then."),
    Status.IN_DOUBT: Words("In doubt", "It was sent, but no answer came back: Meta may or may not have it."),
    Status.QUARANTINED: Words("Quarantined", "Held back before sending, because something in the row is wrong."),
    Status.REJECTED: Words("Rejected", "Meta refused this very event. The events around it were not held up."),
    Status.EXPIRED: Words("Expired", "Older than Meta accepts, so it was not sent."),
    Status.SKIPPED: Words("Skipped", "Left out on purpose: the lead opted out, or the stage is not meant for Meta."),
}
PREVIEW_PENDING: Final = Words("Ready", "Built exactly as a live run would send it. Nothing was sent.")
UNBUILT: Final = Words("Not built", "The run ended before these rows were built into events.")
TEST_DELIVERED: Final = Words("Delivered", "Received by Meta as a test event; the ledger is untouched.")
HANDED_OVER: Final = Words("Handed over", "A later run took these rows and counts them.")
UNCOUNTED_WORDS: Final = {
    "running": Words("Not counted yet", "The run is still at work on these rows, or its audit has yet to count them."),
    "abandoned": Words("Not counted", "The run ended before its audit could count these rows."),
}
UNCOUNTED_DEFECT: Final = Words("Unaccounted for", "No status is on record for these rows. Please report this defect.")

MODE_WORDS: Final[dict[Mode, Words]] = {
    Mode.LIVE: Words("Live", "Events were sent to Meta."),
    Mode.TEST: Words(
        "Test run",
        "A small sample was sent to Meta with a test code. It shows under Test events in Events Manager; Meta may use "
        "it for measurement, too. The ledger was left alone: a live run sends these stage changes again.",
    ),
    Mode.PREVIEW: Words(
        "Preview",
        "Nothing was sent. The events were built byte for byte as a live run would send them, and the ledger was left "
        "alone.",
    ),
}

STATE_NAMES: Final = {
    "running": "Still running",
    "succeeded": "Succeeded",
    "failed": "Failed",
    "abandoned": "Given up",
}

OUTCOME_WORDS: Final = {
    "delivered": Words("Delivered", "Meta took all events of the request."),
    "payload_refused": Words("Refused", "An event was at fault: Meta took none, and the request was cut in halves."),
    "refused_alone": Words("Refused, not believed", "A single event was refused, and so was everything else tried."),
    "not_processed": Words("Not processed", "Meta took none for now; they were tried again or wait for the next run."),
    "rate_limited": Words("Asked to wait", "Meta limits how often it may be called."),
    "stopped": Words("Stopped", "Token, permission or dataset: no event was at fault, and the run stopped sending."),
    "in_doubt": Words("In doubt", "No clear answer: the events may have arrived or not."),
    "sending": Words("No answer yet", "Under way, or the worker died while it was."),
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

OWN_REMEDY: Final = "The rule stands under `quality.expectations` in the pipeline file: mend the source, or the rule."
BATCH_SEVERITY_WORDS: Final = {
    "critical": Words("Critical", "stops the run before anything is sent"),
    "warning": Words("Warning", "is reported, and the run goes on"),
    "info": Words("Info", "is only counted"),
}
SEVERITY_WORDS: Final = {
    "critical": Words("Critical", "a single row that breaks it stops the run before anything is sent"),
    "warning": Words("Warning", "holds the row back; all others go on"),
    "info": Words("Info", "sets the row aside; nothing is wrong with it"),
}

STEPS: Final = ("extract", "validate", "transform", "load", "audit")
STEP_MEANINGS: Final = {
    "extract": "picks the rows",
    "validate": "judges them",
    "transform": "hashes and packs them",
    "load": "sends them to Meta",
    "audit": "counts everything",
}
