"""The typed model of a pipeline file: `include/pipelines/<name>.yaml` in, a checked `Pipeline` out.

A file that cannot be used raises `PipelineFileError` with file, key and remedy, before anything else happens.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeAlias
from zoneinfo import ZoneInfo, available_timezones

import yaml
from croniter import croniter
from phonenumbers import SUPPORTED_REGIONS
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from crm_to_meta import gx_catalogue
from crm_to_meta.errors import PipelineFileError

PIPELINES_FOLDER: Final = Path(__file__).resolve().parents[1] / "pipelines"

META_MAX_EVENTS_PER_REQUEST: Final = 1_000  # "Using the API": at most 1,000 events in `data`
META_MAX_EVENT_AGE: Final = timedelta(days=7)  # "Server Event Parameters": event_time up to 7 days before the request
META_DEDUPLICATION_WINDOW: Final = timedelta(hours=48)  # "Handling Duplicate Events": the same event_id within 48 h
# "Data Processing Options for US Users": the states that Limited Data Use can be asked for
LIMITED_DATA_USE_STATES: Final = {
    1000: "California", 1001: "Colorado", 1002: "Connecticut", 1003: "Florida", 1004: "Oregon", 1005: "Texas",
    1006: "Montana", 1007: "Delaware", 1008: "Nebraska", 1009: "New Hampshire", 1010: "New Jersey", 1011: "Minnesota",
    1012: "Maryland", 1013: "Rhode Island",
}  # fmt: skip

LONGEST_WAIT_IN_TASK_S: Final = 120.0  # longer pauses are left to Airflow's retry, which frees the worker
_CONNECT_MARGIN_S: Final = 20.0

REQUIRED_FIELDS: Final = ("transition_id", "stage", "event_time")
PERSONAL_FIELDS: Final = (
    "email", "phone", "first_name", "last_name", "gender", "date_of_birth",
    "city", "state", "zip", "country", "external_id", "fbc", "fbclid", "fbp",
)  # fmt: skip
OTHER_FIELDS: Final = ("lead_id", "lead_created_at", "value", "currency", "opted_out")
SOURCE_FIELDS: Final = (*REQUIRED_FIELDS, *OTHER_FIELDS, *PERSONAL_FIELDS)
RULE_COLUMNS: Final = (*SOURCE_FIELDS, "event_name")  # what an expectation of a pipeline file may be about

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TAKEN_NAMES: Final = {"erase"}  # dags/crm_to_meta_erase.py has that DAG id


class _RepeatedKeyError(yaml.MarkedYAMLError):
    """A key stands in a mapping twice."""


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML without tags, in which a key that is there twice is a mistake and not the last one's."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's
        """Return a mapping of the file."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := [key for position, key in enumerate(keys) if key in keys[:position]]:
            raise _RepeatedKeyError(problem=f"key {twice[0]!r} is there twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


class _Section(BaseModel):
    """Every section: unknown keys are mistakes, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Connections(_Section):
    """Ids of Airflow connections."""

    warehouse: str = "warehouse"
    meta: str = "meta_capi"


class Source(_Section):
    """Where the stage transitions are, and what their columns are called."""

    table: str = "crm.lead_stage_transitions"
    event_time_type: Literal["timestamptz", "timestamp", "text", "epoch_seconds"] = "timestamptz"
    columns: dict[str, str | None] = {}

    @field_validator("table")
    @classmethod
    def _is_schema_dot_table(cls, table: str) -> str:
        if table.count(".") != 1 or not all(table.split(".")):
            raise ValueError("must be written as schema.table")
        return table

    @field_validator("columns")
    @classmethod
    def _are_known_fields(cls, columns: dict[str, str | None]) -> dict[str, str | None]:
        if unknown := sorted(set(columns) - set(SOURCE_FIELDS)):
            raise ValueError(f"unknown field {unknown[0]!r}; fields are {', '.join(SOURCE_FIELDS)}")
        if missing := [field for field in REQUIRED_FIELDS if field in columns and columns[field] is None]:
            raise ValueError(f"{missing[0]!r} is required and cannot be switched off")
        return columns

    @property
    def schema_and_name(self) -> tuple[str, str]:
        """Return the table's schema and its name."""
        schema, name = self.table.split(".")
        return schema, name


def _word_off(severity: Any) -> Any:
    """YAML reads a bare `off` as false."""
    return "off" if severity is False else severity


Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Severity: TypeAlias = Annotated[Literal["critical", "warning", "info", "off"], BeforeValidator(_word_off)]


class ExpectedRows(_Section):
    """How far the number of rows may be from that of past runs."""

    severity: Severity = "warning"
    at_least: Share = 0.3  # of the usual number
    at_most: Annotated[float, Field(ge=1)] = 5  # times the usual number
    past_runs: Annotated[int, Field(ge=2, le=20)] = 3  # of the same weekday


class IdentifierShare(_Section):
    """How many rows carry an identifier."""

    severity: Severity = "info"  # what is usual differs from CRM to CRM
    at_least: Share = 0.5


class LateRows(_Section):
    """How many rows may be late, and what late is."""

    severity: Severity = "warning"
    hours: Annotated[int, Field(ge=1, le=31 * 24)] = 48
    at_most: Annotated[float, Field(ge=0, le=0.99, multiple_of=0.01)] = (
        0.5  # `mostly` of Great Expectations is a percentage
    )


class NewStages(_Section):
    """What a stage means that this pipeline has never met."""

    severity: Severity = "warning"


class Freshness(_Section):
    """How old the newest row may be."""

    severity: Severity = "warning"
    hours: Annotated[int, Field(ge=1, le=31 * 24)] = 72  # a weekend without a stage change is none to worry about


class OwnRule(_Section):
    """An expectation of Great Expectations, in its own words; see `own_rules` in expectations.py."""

    type: str
    kwargs: dict[str, Any] = {}
    severity: Literal["critical", "warning", "info"] = "warning"
    quarantine: bool = False
    description: str = ""

    @model_validator(mode="after")
    def _is_known_to_gx(self) -> Self:
        gx_catalogue.check(self.type, self.kwargs, columns=RULE_COLUMNS, must_be_about_rows=self.quarantine)
        if self.quarantine and self.severity == "critical":
            raise ValueError("`quarantine` keeps rows back and `severity: critical` stops them all; choose one of them")
        return self


class Quality(_Section):
    """Thresholds of the rules about a whole batch, and rules of one's own."""

    max_quarantined_share: Share = 0.5
    min_rows_to_judge: Annotated[int, Field(ge=1)] = 20
    future_tolerance_seconds: Annotated[int, Field(ge=0, le=3600)] = 60
    rows: ExpectedRows = ExpectedRows()
    lead_ids: IdentifierShare = IdentifierShare()
    emails: IdentifierShare = IdentifierShare()
    phones: IdentifierShare = IdentifierShare()
    late_rows: LateRows = LateRows()
    new_stages: NewStages = NewStages()
    freshness: Freshness = Freshness()
    expectations: tuple[OwnRule, ...] = ()
    data_docs: str | None = None

    @field_validator("data_docs")
    @classmethod
    def _is_absolute_folder(cls, folder: str | None) -> str | None:
        if folder is not None and not Path(folder).is_absolute():
            raise ValueError("must be an absolute path such as /srv/data-docs, for each worker is somewhere else")
        return folder


class Delivery(_Section):
    """How events are packed and sent."""

    on_in_doubt: Literal["resend", "hold"] = "resend"
    chunk_size: Annotated[int, Field(ge=1, le=META_MAX_EVENTS_PER_REQUEST)] = META_MAX_EVENTS_PER_REQUEST
    shard_chunks: Annotated[int, Field(ge=1)] = 50
    parallel_shards: Annotated[int, Field(ge=1, le=32)] = 2
    concurrency: Annotated[int, Field(ge=1, le=16)] = 4
    expiry_margin_minutes: Annotated[int, Field(ge=0, le=24 * 60)] = 60
    test_events: Annotated[int, Field(ge=1, le=META_MAX_EVENTS_PER_REQUEST)] = 50
    attempts: Annotated[int, Field(ge=1, le=20)] = 5
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 60

    @property
    def max_event_age(self) -> timedelta:
        """Return the age at which an event is given up: Meta's limit less the margin for waiting and retrying."""
        return META_MAX_EVENT_AGE - timedelta(minutes=self.expiry_margin_minutes)


class DataProcessingOptions(_Section):
    """What Meta may do with the events: "Data Processing Options for US Users" (Limited Data Use)."""

    options: Annotated[tuple[Literal["LDU"], ...], Field(max_length=1)] | None = None
    country: Literal[1] | None = None
    state: int | None = None

    @model_validator(mode="after")
    def _say_where(self) -> Self:
        """Meta finds the state of nobody by itself here: it would need an IP address, which a CRM does not have."""
        if self.options and (self.country is None or self.state not in LIMITED_DATA_USE_STATES):
            states = ", ".join(f"{number} {name}" for number, name in LIMITED_DATA_USE_STATES.items())
            raise ValueError(f"LDU needs `country: 1` and a `state`, one of {states}")
        if not self.options and (self.country is not None or self.state is not None):
            raise ValueError("country and state stand beside `options: [LDU]` only")
        return self

    @property
    def members(self) -> dict[str, list[str] | int]:
        """Return what every event carries; nothing where the pipeline file does not mention it."""
        if self.options is None:
            return {}
        place = {"data_processing_options_country": self.country, "data_processing_options_state": self.state}
        return {
            "data_processing_options": list(self.options),
            **{name: number for name, number in place.items() if number is not None},
        }


class Pipeline(_Section):
    """One pipeline: a source table, a stage map, a dataset, a schedule."""

    name: str
    description: str = ""
    schedule: str = "0 0 * * *"
    time_zone: str = "UTC"
    start_date: date
    lookback_hours: Annotated[int, Field(ge=1, le=31 * 24)] = 8 * 24  # docs/adr/0002: what ages out is put on record
    lease_minutes: Annotated[int, Field(ge=1, le=24 * 60)] = 15
    retention_days: Annotated[int, Field(ge=8, le=3650)] = 30  # of request bodies; none is needed once all is too old
    ledger_days: Annotated[int, Field(ge=60, le=36500)] = 400  # twice the longest lookback at least
    connections: Connections = Connections()
    source: Source = Source()
    stages: Annotated[dict[str, str], Field(min_length=1)]
    unmapped_stages: Literal["quarantine", "skip", "fail"] = "quarantine"
    default_country: str | None = None
    date_of_birth_order: Literal["year_first", "day_first", "month_first"] = "year_first"
    data_processing_options: DataProcessingOptions = DataProcessingOptions()
    quality: Quality = Quality()
    delivery: Delivery = Delivery()

    @field_validator("name")
    @classmethod
    def _is_plain_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("a pipeline's file name is a-z, 0-9 and _, starts with a letter, at most 40 characters")
        if name in _TAKEN_NAMES:
            raise ValueError(f"the DAG {dag_id_of(name)} is another one; give the file another name")
        return name

    @field_validator("time_zone")
    @classmethod
    def _is_known_zone(cls, zone: str) -> str:
        if zone not in available_timezones():
            raise ValueError("not a time zone name such as Europe/Berlin")
        return zone

    @field_validator("schedule")
    @classmethod
    def _is_cron(cls, schedule: str) -> str:
        if not croniter.is_valid(schedule):
            raise ValueError("not a cron expression such as 0 0 * * * (midnight)")
        return schedule

    @field_validator("default_country")
    @classmethod
    def _is_alpha_2(cls, country: str | None) -> str | None:
        if country is not None and country not in SUPPORTED_REGIONS:
            raise ValueError("must be a country's two capital letters such as US")
        return country

    @field_validator("stages")
    @classmethod
    def _have_event_names(cls, stages: dict[str, str]) -> dict[str, str]:
        if blank := [stage for stage, event_name in stages.items() if not (stage.strip() and event_name.strip())]:
            raise ValueError(f"stage {blank[0]!r} has no event name")
        return stages

    @model_validator(mode="after")
    def _outlive_a_request(self) -> Self:
        needed_s = self.delivery.timeout_seconds + LONGEST_WAIT_IN_TASK_S + _CONNECT_MARGIN_S
        if self.lease_minutes * 60 < needed_s:
            raise ValueError(
                f"lease_minutes must be {math.ceil(needed_s / 60)} or more: a request and a pause fit into it"
            )
        return self

    @property
    def zone(self) -> ZoneInfo:
        """Return the zone whose midnights part the days."""
        return ZoneInfo(self.time_zone)

    @property
    def dag_id(self) -> str:
        """Return the id of the DAG that Airflow shows."""
        return dag_id_of(self.name)

    @property
    def digest(self) -> str:
        """Return a digest of the whole configuration: runs with the same digest judged rows by the same rules."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def load_pipeline(path: Path) -> Pipeline:
    """Read and check one pipeline file.

    Raises:
        PipelineFileError: the file is absent, is no YAML mapping, or has a wrong, missing or unknown key.
    """
    try:
        settings = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml"))) or "none"
        raise PipelineFileError(f"{_shown(path)}: no such pipeline file; there are: {known}.") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise PipelineFileError(f"{_shown(path)}: not readable as YAML{_position(error)}; mend it there.") from None
    except ValueError:  # YAML makes dates and numbers itself
        raise PipelineFileError(
            f"{_shown(path)}: a date in it is not in the calendar, or a number is too long; mend `start_date` first."
        ) from None
    if not isinstance(settings, dict):
        raise PipelineFileError(f"{_shown(path)}: empty, or not a mapping of keys; start from conversion_leads.yaml.")
    if "name" in settings:
        raise PipelineFileError(f"{_shown(path)}: key `name` is unknown, the file's name is the pipeline's; remove it.")
    try:
        return Pipeline.model_validate({**settings, "name": path.stem})
    except ValidationError as error:
        raise PipelineFileError(f"{_shown(path)}: {_first_mistake(error)}") from None


def list_pipeline_files() -> list[Path]:
    """Return the pipeline files, by name."""
    return sorted(pipelines_folder().glob("*.yaml"))


def pipelines_folder() -> Path:
    """Return the folder of the pipeline files: `include/pipelines`, or what CRM_TO_META_PIPELINES names."""
    return Path(os.environ.get("CRM_TO_META_PIPELINES") or PIPELINES_FOLDER)


def dag_id_of(name: str) -> str:
    """Return the id of the DAG that Airflow shows for a pipeline."""
    return f"crm_to_meta_{name}"


def _shown(path: Path) -> str:
    return "/".join(path.parts[-3:])


def _position(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    what = f": {error.problem}" if isinstance(error, _RepeatedKeyError) else ""  # YAML's own words quote the file
    return f" (line {mark.line + 1}{what})" if mark else ""


def _first_mistake(error: ValidationError) -> str:
    first: Any = error.errors()[0]
    is_about_a_key = first["loc"][-1:] == ("[key]",)
    key = ".".join(str(part) for part in (first["loc"][:-2] if is_about_a_key else first["loc"])) or "(whole file)"
    match first["type"]:
        case "string_type":
            what = "a key in it must be text" if is_about_a_key else "must be text"
            return f"key `{key}`: {what}; put it in quotes (YAML reads a bare NO as false, a bare 7 as a number)."
        case "missing":
            return f"key `{key}` is missing; add it (README.md, Settings)."
        case "extra_forbidden":
            return f"key `{key}` is unknown; remove it or mend its spelling (README.md, Settings)."
        case _:
            message = first["msg"].removeprefix("Value error, ")
            return f"key `{key}`: {message}; mend it (README.md, Settings)."
