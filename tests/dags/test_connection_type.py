"""The connection type "Meta Conversions API": its form, and what its test button finds out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from crm_to_meta_demo.environment import meta_connection_json

if TYPE_CHECKING:
    from conftest import AirflowHome

    from crm_to_meta_demo.meta_stand_in.testing import StandIn

pytestmark = [pytest.mark.airflow, pytest.mark.filterwarnings("ignore")]


def connect(monkeypatch: pytest.MonkeyPatch, stand_in: StandIn, *, token: str) -> Any:
    """Return the hook that Airflow makes of a connection of the type, as its form saves it."""
    from airflow.models.connection import Connection

    given = json.loads(meta_connection_json({}, token=token, base_url=stand_in.base_url))
    monkeypatch.setenv("AIRFLOW_CONN_META_TRIED", json.dumps({**given, "conn_type": "meta_capi"}))
    return Connection(conn_id="meta_tried", conn_type="meta_capi")


def test_that_airflow_has_the_type_with_its_fields(airflow_home: AirflowHome) -> None:
    """As the form asks for it; the two that no connection does without are required."""
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    hook = manager.hooks["meta_capi"]
    fields = {
        name.rpartition("__")[2]: field.field_schema if hasattr(field, "field_schema") else field
        for name, field in manager.connection_form_widgets.items()
        if "meta_capi" in name
    }

    assert hook is not None
    assert hook.hook_name == "Meta Conversions API"
    assert set(fields) == {"dataset_id", "crm_name", "api_version", "app_secret", "partner_agent", "base_url"}


def test_that_the_test_button_checks_token_and_dataset(
    airflow_home: AirflowHome, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A good connection is good, a bad one says what to do; nothing that Meta could use is sent, no token is quoted."""
    good = connect(monkeypatch, stand_in, token=stand_in.token).test_connection()
    bad = connect(monkeypatch, stand_in, token="no-token-of-theirs").test_connection()

    assert good[0] is True
    assert bad[0] is False
    assert "auth_190" in bad[1]
    assert "no-token-of-theirs" not in bad[1]
    assert stand_in.events() == []


def test_that_an_incomplete_connection_is_told(airflow_home: AirflowHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Meta is asked at all."""
    from crm_to_meta_airflow.meta_hook import MetaConversionsHook

    monkeypatch.setenv("AIRFLOW_CONN_META_TRIED", json.dumps({"conn_type": "meta_capi", "password": "t"}))
    is_good, sentence = MetaConversionsHook("meta_tried").test_connection()

    assert not is_good
    assert "dataset_id" in sentence
