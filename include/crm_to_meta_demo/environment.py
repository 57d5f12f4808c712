"""Which parts a run uses: the environment and .env in, connections for Airflow out.

Own parts come in pairs. The sample CRM is never sent to Meta, and what the stand-in took is never written down in a
real warehouse as delivered.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dotenv import dotenv_values

from crm_to_meta.errors import ConfigurationError
from crm_to_meta.models import Mode
from crm_to_meta.pipeline.settings import Pipeline, load_pipeline, pipelines_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT_FOLDER: Final = Path(__file__).resolve().parents[2]
LOCAL_FOLDER: Final = Path(os.environ.get("CRM_TO_META_LOCAL") or PROJECT_FOLDER / ".local")
DEFAULT_PIPELINE: Final = "conversion_leads"
SAMPLE_DATASET_ID: Final = "1261294122522559"
SAMPLE_CRM_NAME: Final = "Codex CRM"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What `make run` was asked to do."""

    pipeline: Pipeline
    mode: Mode
    date: str | None
    test_event_code: str | None
    settings: Mapping[str, str]

    @property
    def warehouse_variable(self) -> str:
        """Return the variable that Airflow reads the warehouse connection from."""
        return f"AIRFLOW_CONN_{self.pipeline.connections.warehouse.upper()}"

    @property
    def meta_variable(self) -> str:
        """Return the variable that Airflow reads the Meta connection from."""
        return f"AIRFLOW_CONN_{self.pipeline.connections.meta.upper()}"

    @property
    def is_embedded(self) -> bool:
        """Say whether the sample CRM and the stand-in are used."""
        return not self.settings.get(self.warehouse_variable)

    def meta_connection(self) -> str | None:
        """Return the Meta connection that the settings describe, as JSON; None where they describe none."""
        if given := self.settings.get(self.meta_variable):
            return given
        token = self.settings.get("META_ACCESS_TOKEN", "").strip()
        if not token and self.mode is not Mode.PREVIEW:
            return None
        return meta_connection_json(self.settings, token=token)


def read_options(environment: Mapping[str, str] | None = None, *, env_file: Path | None = None) -> RunOptions:
    """Return what to run; the environment goes before .env.

    Raises:
        ConfigurationError: a setting is wrong, or own parts are given without their counterpart.
    """
    shell = os.environ if environment is None else environment
    file = dotenv_values(env_file or PROJECT_FOLDER / ".env", interpolate=False)
    settings = {**{name: value for name, value in file.items() if value is not None}, **shell}
    options = RunOptions(
        pipeline=load_pipeline(pipelines_folder() / f"{settings.get('PIPELINE') or DEFAULT_PIPELINE}.yaml"),
        mode=_read_mode(settings.get("MODE") or Mode.LIVE),
        date=settings.get("DATE") or None,
        test_event_code=settings.get("TEST_EVENT_CODE") or None,
        settings=settings,
    )
    _refuse_mixed_parts(options)
    return options


def meta_connection_json(settings: Mapping[str, str], *, token: str, base_url: str | None = None) -> str:
    """Return the connection `meta_capi` made of the META_ settings, as JSON."""
    extra = {
        "dataset_id": settings.get("META_DATASET_ID") or SAMPLE_DATASET_ID,
        "crm_name": settings.get("CRM_NAME") or SAMPLE_CRM_NAME,
        "api_version": settings.get("META_API_VERSION") or None,
        "base_url": base_url or settings.get("META_GRAPH_URL") or None,
        "app_secret": settings.get("META_APP_SECRET") or None,
        "partner_agent": settings.get("META_PARTNER_AGENT") or None,
    }
    given = {name: value for name, value in extra.items() if value}
    return json.dumps({"conn_type": "generic", "password": token, "extra": given})


def _read_mode(text: str) -> Mode:
    try:
        return Mode(text)
    except ValueError:
        raise ConfigurationError(f"MODE must be one of {', '.join(Mode)}.") from None


def _refuse_mixed_parts(options: RunOptions) -> None:
    has_meta = bool(
        options.settings.get(options.meta_variable) or options.settings.get("META_ACCESS_TOKEN", "").strip()
    )
    if options.is_embedded and has_meta:
        raise ConfigurationError(
            f"A token for Meta is set but no {options.warehouse_variable}: the sample CRM is never sent to Meta. "
            "Set both, or neither (.env.example)."
        )
    if not options.is_embedded and not has_meta and options.mode is not Mode.PREVIEW:
        raise ConfigurationError(
            f"{options.warehouse_variable} is set but neither META_ACCESS_TOKEN nor {options.meta_variable}: what the "
            "stand-in takes must not be on record as delivered in your warehouse. Set one, or use `make preview`."
        )
    if (options.mode is Mode.TEST) != (options.test_event_code is not None):
        raise ConfigurationError("MODE=test and TEST_EVENT_CODE go together; Events Manager shows the code.")
