"""The parameters of a run, as the form in Airflow's UI shows and checks them.

What one parameter alone gets wrong is refused before a run exists, what does not go together by the first task. An
accordion of the form (`section`) would be closed at first, so there is none.
"""

from __future__ import annotations

from typing import Final

from airflow.sdk import Param

from crm_to_meta.models import TEST_EVENT_CODE_PATTERN, Mode
from crm_to_meta.pipeline.mode import AS_PLANNED

MODE_LABELS: Final = {
    AS_PLANNED: "As planned (a run that you start here: preview)",
    Mode.PREVIEW.value: "Preview: build the events, send nothing",
    Mode.LIVE.value: "Live: send them to Meta",
    Mode.TEST.value: "Test: send a few with a test event code",
}
_NO_VALUE: Final = ["null", "string"]

PARAMS: Final = {
    "mode": Param(
        AS_PLANNED,
        type="string",  # without a type, a field that somebody empties would be sent
        enum=list(MODE_LABELS),
        values_display=MODE_LABELS,
        title="What to do with the events",
        description_md="**As planned** sends in scheduled runs and backfills. A run that a person starts by hand is a "
        "**preview**, unless you choose **live** here. A preview sends nothing; the log of `load` shows some of the "
        "exact events.",
    ),
    "date": Param(
        None,
        type=_NO_VALUE,
        format="date",
        title="Only this day",
        description_md="A day that has ended, in the pipeline's time zone. Empty: everything that is not finished, as "
        "far back as the pipeline looks. Not for backfills, which have days of their own.",
    ),
    "test_event_code": Param(
        None,
        type=_NO_VALUE,
        pattern=f"^({TEST_EVENT_CODE_PATTERN})?$",
        title="Test event code",
        description_md="From Events Manager, *Test events*. A code alone makes this a **test run**: at most as many "
        "events as `delivery.test_events` says reach the dataset, with this code. Meta may still use them for "
        "measurement.",
        examples=["TEST12345"],
    ),
}
