"""Describes the connection type "Meta Conversions API" to Airflow: the fields of its form, and who tests it.

Airflow asks installed packages alone for connection types. `plugins/crm_to_meta-1.0.dist-info` makes this one look
installed wherever `plugins/` is on PYTHONPATH. Without it, the type `generic` does the same with a JSON extra.
"""

from __future__ import annotations

from typing import Any, Final

CONNECTION_TYPE: Final = "meta_capi"
_TEXT: Final = {"type": ["string", "null"]}
_SECRET: Final = {"type": ["string", "null"], "format": "password"}


def get_provider_info() -> dict[str, Any]:
    """Return what Airflow wants to know of a provider."""
    fields = {
        "dataset_id": ("Dataset id", {"type": "string", "pattern": "^[0-9]+$"}, "Events Manager, Settings."),
        "crm_name": ("CRM name", {"type": "string"}, "Meta shows it as the source of the events."),
        "api_version": ("API version", _TEXT, "By default the version that this release was tested with."),
        "app_secret": ("App secret", _SECRET, "Where the app wants requests to prove that they come from it."),
        "partner_agent": ("Partner agent", _TEXT, "For agencies and platforms: the name agreed on with Meta."),
        "base_url": ("Base URL", _TEXT, "For tests against something else than Meta."),
    }
    return {
        "package-name": "crm-to-meta",
        "name": "CRM to Meta",
        "description": "CRM stage changes to Meta's Conversions API",
        "connection-types": [
            {
                "connection-type": CONNECTION_TYPE,
                "hook-name": "Meta Conversions API",
                "hook-class-name": "crm_to_meta_airflow.meta_hook.MetaConversionsHook",
                "ui-field-behaviour": {
                    "hidden-fields": ["host", "schema", "login", "port", "extra"],
                    "relabeling": {"password": "Access token"},
                },
                "conn-fields": {
                    name: {"label": label, "description": description, "schema": schema}
                    for name, (label, schema, description) in fields.items()
                },
            }
        ],
    }
