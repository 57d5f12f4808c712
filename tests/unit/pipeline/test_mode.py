"""What a run does with its events, for each way to start it and each way to fill the form in."""

from __future__ import annotations

import pytest

from crm_to_meta.errors import ConfigurationError
from crm_to_meta.models import Mode
from crm_to_meta.pipeline.mode import resolve_mode

PLANNED = ["scheduled", "backfill", "asset_triggered", "operator_triggered"]
BY_HAND = ["manual", "asset_materialization", "what a later Airflow adds"]


@pytest.mark.parametrize("asked", ["planned", "", None], ids=repr)
@pytest.mark.parametrize("run_type", PLANNED)
def test_that_a_planned_run_sends(run_type: str, asked: str | None) -> None:
    """A schedule, a backfill, an asset or another DAG: somebody decided beforehand that this pipeline sends."""
    assert resolve_mode(asked=asked, run_type=run_type, test_event_code=None) is Mode.LIVE


@pytest.mark.parametrize("asked", ["planned", "", None], ids=repr)
@pytest.mark.parametrize("run_type", BY_HAND)
def test_that_an_untouched_form_previews(run_type: str, asked: str | None) -> None:
    """A person who has chosen nothing may just be looking."""
    assert resolve_mode(asked=asked, run_type=run_type, test_event_code=None) is Mode.PREVIEW


@pytest.mark.parametrize("run_type", [*PLANNED, *BY_HAND])
@pytest.mark.parametrize("mode", [Mode.LIVE, Mode.PREVIEW])
def test_that_a_chosen_mode_is_the_runs(run_type: str, mode: Mode) -> None:
    """Who chooses gets that, however the run was started."""
    assert resolve_mode(asked=mode, run_type=run_type, test_event_code=None) is mode


@pytest.mark.parametrize("asked", ["planned", "test", None])
@pytest.mark.parametrize("run_type", [*PLANNED, *BY_HAND])
def test_that_a_test_event_code_means_a_test_run(run_type: str, asked: str | None) -> None:
    """The code alone is enough."""
    assert resolve_mode(asked=asked, run_type=run_type, test_event_code="TEST1") is Mode.TEST


@pytest.mark.parametrize(
    ("asked", "code", "told"),
    [
        ("test", None, "needs a test event code"),
        ("live", "TEST1", "does not go with mode live"),
        ("preview", "TEST1", "does not go with mode preview"),
        ("dry", None, "take one of planned, live, test, preview"),
    ],
)
def test_that_what_does_not_go_together_is_refused(asked: str, code: str | None, told: str) -> None:
    """The message says what to do."""
    with pytest.raises(ConfigurationError, match=told):
        resolve_mode(asked=asked, run_type="manual", test_event_code=code)
