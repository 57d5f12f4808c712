"""The parameters of a run, typed and described: what the form of Airflow's UI shows."""

from __future__ import annotations

from airflow.sdk import Param

from crm_to_meta.models import TEST_EVENT_CODE_PATTERN, Mode

PARAMS = {
    "mode": Param(
        Mode.LIVE.value,
        enum=[mode.value for mode in Mode],
        description="live sends; preview builds the same events and sends nothing; test sends a few with a test code.",
    ),
    "date": Param(
        None,
        type=["null", "string"],
        format="date",
        description="Only this day (YYYY-MM-DD, in the pipeline's time zone). Empty: look back and reconcile.",
    ),
    "test_event_code": Param(
        None,
        type=["null", "string"],
        pattern=f"^{TEST_EVENT_CODE_PATTERN}$",
        description="For mode test: from Events Manager.",
    ),
}
