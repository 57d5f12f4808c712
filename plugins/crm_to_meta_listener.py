"""Registers the listener that writes what a run came to into its note. Each process of Airflow loads this file."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin


class CrmToMetaListenerPlugin(AirflowPlugin):
    """Airflow's way to find the listener."""

    name = "crm_to_meta_listener"

    @cached_property
    def listeners(self) -> list[Any]:  # type: ignore[override]
        """Return the listener; it is imported where Airflow asks for it."""
        from crm_to_meta_airflow.listener import NoteListener

        return [NoteListener()]
