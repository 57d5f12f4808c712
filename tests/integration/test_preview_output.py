"""A preview's text: the very bytes that a live run sends, the reasons for what is missing, and nothing raw."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from daily_run import CRM_NAME, SOURCE_COLUMNS, create_source, events_of

from crm_to_meta.meta.client import MetaSettings
from crm_to_meta.models import Mode
from crm_to_meta.report.preview import describe_preview

if TYPE_CHECKING:
    from daily_run import Company


def preview(company: Company) -> tuple[str, str]:
    """Run a preview; return its run key and its text."""
    settings = MetaSettings(
        dataset_id=company.stand_in.dataset_id, crm_name=CRM_NAME, token="", base_url=company.stand_in.base_url
    )
    day = company.run_day(company.facts(mode=Mode.PREVIEW))
    assert day.errors == []
    return day.run_key, describe_preview(company.warehouse, day.run_key, events_url=settings.events_url)


def test_preview_tells_what_was_left_out_and_why(company: Company) -> None:
    """Counts by field and reason, and for each shown event the fields that it goes without; no raw value anywhere."""
    company.record(
        company.transition(phone="call me maybe", email="Ada.Raw@Example.com", first_name="Zsuzsanna", country="US"),
        company.transition(phone="(202) 555-0143", email="no address", country="US"),
        company.transition(phone="(202) 555-0144", email="", country="US"),
    )
    _, text = preview(company)

    assert "3 events would be sent; nothing was" in text
    assert "left out: ph (not a possible phone number)" in text
    assert "left out: em (not an email address)" in text
    assert "1 left out: not an email address" in text
    assert "1 left out: blank" in text
    # With letters and signs that no hash, id or time holds: a short run of digits occurs in those by chance.
    for raw in ("call me maybe", "zsuzsanna", "ada.raw@example", "no address", "(202) 555", "555-0143", "555-0144"):
        assert raw not in text.lower()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_previewed_request_is_what_a_live_run_sends(company: Company) -> None:
    """Law 7, tried out: the printed command, run in a shell with a token, posts what a live run sends."""
    company.record(*(company.transition(phone="202-555-0143", first_name="Zoë", country="US") for _ in range(3)))
    run_key, text = preview(company)
    command = text[text.index("curl ") :]
    environment = {"PATH": os.environ["PATH"], "META_ACCESS_TOKEN": company.token}

    shell = ["/bin/sh", "-c", command]
    answer = subprocess.run(shell, env=environment, capture_output=True, text=True, check=True)
    posted = company.received()
    live = company.run_day()

    assert json.loads(answer.stdout)["events_received"] == 3
    assert posted == [event for body in company.bodies(run_key) for event in events_of(body)]
    assert posted == [event for body in company.bodies(live.run_key) for event in events_of(body)]
    assert company.token not in text


def test_event_with_a_click_id_is_not_shown(company: Company) -> None:
    """A click id is sent as it is, so a preview, which may stand in a log, counts such events and shows others."""
    create_source(company.warehouse, {**SOURCE_COLUMNS, "fbc": "text"})
    click_id = "fb.1.1700000000000.AbCdEf"
    company.record(company.transition(fbc=click_id), company.transition(fbc=None), company.transition(fbc=click_id))
    _, text = preview(company)

    assert "3 events would be sent; nothing was. 1 of the newest without a click id" in text
    assert "AbCdEf" not in text


def test_preview_of_nothing_says_so(company: Company) -> None:
    """A run without events is no error."""
    company.record(company.transition(stage=None))
    _, text = preview(company)

    assert text == "Preview: there is no event to send."
