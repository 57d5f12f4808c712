"""Decides what a run does with the events it builds. This is the only place that knows what an untouched form means."""

from __future__ import annotations

from typing import Final

from crm_to_meta.errors import ConfigurationError
from crm_to_meta.models import Mode

AS_PLANNED: Final = "planned"  # the first choice of the form
PLANNED_RUN_TYPES: Final = frozenset({"scheduled", "backfill", "asset_triggered", "operator_triggered"})  # Airflow's


def resolve_mode(*, asked: str | None, run_type: str, test_event_code: str | None) -> Mode:
    """Return the mode of a run.

    - A mode that is asked for by its name is the run's.
    - As planned: live where a schedule, a backfill, an asset or another DAG started the run; a preview where a person
      did, who may just be looking. So an untouched form never sends.
    - A test event code alone means a test run.

    Args:
        asked: the parameter `mode`: a mode, AS_PLANNED or nothing, which means the same.
        run_type: Airflow's: scheduled, backfill, manual, asset_triggered and others.
        test_event_code: the parameter of that name; nothing where there is none.

    Raises:
        ConfigurationError: no such mode, a test run without a code, or a code in another mode.
    """
    if asked in {None, "", AS_PLANNED}:
        if test_event_code:
            return Mode.TEST
        return Mode.LIVE if run_type in PLANNED_RUN_TYPES else Mode.PREVIEW
    try:
        mode = Mode(str(asked))
    except ValueError:
        raise ConfigurationError(
            f"Parameter `mode` has no such choice; take one of {', '.join([AS_PLANNED, *Mode])}."
        ) from None
    if mode is Mode.TEST and not test_event_code:
        raise ConfigurationError(
            "A test run needs a test event code; copy it from Events Manager, Test events, into `test_event_code`."
        )
    if mode is not Mode.TEST and test_event_code:
        raise ConfigurationError(
            f"A test event code does not go with mode {mode}; empty `test_event_code`, or choose mode test."
        )
    return mode
