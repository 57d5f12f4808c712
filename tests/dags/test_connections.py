"""Airflow's connections become settings, and what is secret in them is known to Airflow's log masking."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import AirflowHome

pytestmark = [pytest.mark.airflow, pytest.mark.filterwarnings("ignore")]

APP_SECRET = "0123456789abcdef0123456789abcdef"


def test_that_the_app_secret_and_its_proof_are_masked(
    airflow_home: AirflowHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever prints them in a task's log shows asterisks; without an app secret there is nothing to mask."""
    from crm_to_meta_airflow import connections

    extra = {"dataset_id": "1", "crm_name": "CRM"}
    with_secret = {"conn_type": "generic", "password": "token", "extra": {**extra, "app_secret": APP_SECRET}}
    monkeypatch.setenv("AIRFLOW_CONN_META_PLAIN", json.dumps({**with_secret, "extra": extra}))
    monkeypatch.setenv("AIRFLOW_CONN_META_PROVEN", json.dumps(with_secret))
    masked: list[str] = []
    monkeypatch.setattr(connections, "mask_secret", masked.append)

    connections.meta_settings("meta_plain", needs_token=True)
    assert masked == []
    settings = connections.meta_settings("meta_proven", needs_token=True)
    assert masked == [APP_SECRET, settings.proof["appsecret_proof"]]
