"""The parameters of a run, with the types and descriptions that the form in Airflow's UI shows."""

from __future__ import annotations

from airflow.sdk import Param

from crm_to_meta.models import TEST_EVENT_CODE_PATTERN, Mode

PARAMS = {
    "mode": Param(
        Mode.LIVE.value,
        enum=[mode.value for mode in Mode],
        description="live sends; preview builds the same events but sends nothing; test sends a few with a test code.",
    ),
    "date": Param(
        None,
        type=["null", "string"],
        format="date",
        description="Only this day (YYYY-MM-DD, in the pipeline's time zone). Empty: the pipeline's whole lookback.",
    ),
    "test_event_code": Param(
        None,
        type=["null", "string"],
        pattern=f"^{TEST_EVENT_CODE_PATTERN}$",
        description="The test code from Events Manager, for mode test.",
    ),
}
