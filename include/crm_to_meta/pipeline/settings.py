"""The settings of a pipeline: a typed model of `include/pipelines/<name>.yaml`.

A file that cannot be used raises `PipelineFileError` with file, key and remedy, before anything else happens. The
descriptions, types, bounds and defaults below are the tables of docs/settings.md: `make docs` writes them.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from datetime import date, timedelta
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeAlias
from zoneinfo import ZoneInfo, available_timezones

import yaml
from croniter import croniter
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from crm_to_meta.errors import PipelineFileError
from crm_to_meta.meta.limits import LIMITED_DATA_USE_STATES, META_MAX_EVENT_AGE, META_MAX_EVENTS_PER_REQUEST
from crm_to_meta.pipeline import expectation_types
from crm_to_meta.pipeline.alerts import Alerts

PIPELINES_FOLDER: Final = Path(__file__).resolve().parents[2] / "pipelines"


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
_SOUNDS_LOST: Final = re.compile(
    r"(?:^|[\W_])(?:lost|disqualified|unqualified|junk|spam|dead)(?:$|[\W_])", re.IGNORECASE
)
_TAKEN_NAMES: Final = {"erase"}  # dags/crm_to_meta_erase.py has that DAG id


class _RepeatedKeyError(yaml.MarkedYAMLError):
    """A key stands in a mapping twice."""


# libyaml reads a file ten times as fast, and each pipeline file is read at every parse of the DAG files.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _UniqueKeyLoader(_SafeLoader):  # type: ignore[misc]
    """YAML without tags, in which a repeated key is a mistake (plain YAML takes the last one in silence)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's
        """Return a mapping of the file."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := [key for position, key in enumerate(keys) if key in keys[:position]]:
            raise _RepeatedKeyError(problem=f"key {twice[0]!r} is there twice", problem_mark=node.start_mark)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


class _Section(BaseModel):
    """What all sections share: unknown keys are mistakes, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Connections(_Section):
    """Which Airflow connections the pipeline uses."""

    warehouse: str = Field(default="warehouse", description="Id of the Airflow connection to the PostgreSQL warehouse.")
    meta: str = Field(default="meta_capi", description="Id of the Airflow connection to Meta.")


class Source(_Section):
    """Where the stage changes are, and what their columns are called."""

    table: str = Field(default="crm.lead_stage_transitions", description="Table or view, written as `schema.table`.")
    asset: str | None = Field(
        default=None,
        min_length=1,
        description="Name of the table as an Airflow asset, such as `postgres://host:5432/database/schema/table`. "
        "By default it is the warehouse's connection and the table: `warehouse/crm.lead_stage_transitions`.",
    )
    event_time_type: Literal["timestamptz", "timestamp", "text", "epoch_seconds"] = Field(
        default="timestamptz",
        description="Type of the time columns. `text` is ISO 8601. Times without an offset are read in `time_zone`.",
    )
    columns: dict[str, str | None] = Field(
        default={},
        description="`field: column` where the column has another name than the field. "
        "`field: null` switches an optional field off.",
    )

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


_SEVERITY: Final = "What happens where the rule is broken."

Severity: TypeAlias = Annotated[Literal["critical", "warning", "info", "off"], BeforeValidator(_word_off)]


class ExpectedRows(_Section):
    """How far the number of rows may be from that of past runs."""

    severity: Severity = Field(default="warning", description=_SEVERITY)
    at_least: float = Field(
        default=0.3, ge=0, le=1, description="Fewest rows expected, as a share of the usual number."
    )
    at_most: float = Field(default=5, ge=1, description="Most rows expected, as a multiple of the usual number.")
    past_runs: int = Field(
        default=3,
        ge=2,
        le=20,
        description="How many past runs of the same weekday it takes to know the usual number (their median). "
        "With fewer, the quietest and the busiest of at least seven past runs are the limits.",
    )


class IdentifierShare(_Section):
    """How many rows have an identifier."""

    severity: Severity = Field(default="info", description=f"{_SEVERITY} What is usual differs from CRM to CRM.")
    at_least: float = Field(default=0.5, ge=0, le=1, description="Smallest share of the rows that have the identifier.")


class LateRows(_Section):
    """How many rows may be late, and what late means."""

    severity: Severity = Field(default="warning", description=_SEVERITY)
    hours: int = Field(
        default=48,
        ge=1,
        le=31 * 24,
        description="A row is late if it is more than this many hours older than the window's end.",
    )
    at_most: float = Field(
        default=0.5,
        ge=0,
        le=0.99,
        multiple_of=0.01,  # `mostly` of Great Expectations is a percentage
        description="Largest share of the rows that may be late.",
    )


class NewStages(_Section):
    """What happens when the CRM has a stage that this pipeline has not seen before."""

    severity: Severity = Field(default="warning", description=_SEVERITY)


class Freshness(_Section):
    """How old the newest row may be."""

    severity: Severity = Field(default="warning", description=_SEVERITY)
    hours: int = Field(
        default=72,  # a weekend without a stage change is nothing to worry about
        ge=1,
        le=31 * 24,
        description="How many hours the newest row may be older than the window's end.",
    )


class OwnRule(_Section):
    """An expectation of Great Expectations, by its type and arguments."""

    type: str = Field(description="The expectation, such as `expect_column_values_to_be_in_set`.")
    kwargs: dict[str, Any] = Field(default={}, description="The expectation's arguments.")
    severity: Literal["critical", "warning", "info"] = Field(default="warning", description=_SEVERITY)
    quarantine: bool = Field(
        default=False,
        description="`true` holds back the rows that break the rule, with the reason `own_rule`. The others go on.",
    )
    description: str = Field(default="", description="The rule in words, for the report.")

    @model_validator(mode="after")
    def _is_known_to_gx(self) -> Self:
        expectation_types.check(self.type, self.kwargs, columns=RULE_COLUMNS, must_be_about_rows=self.quarantine)
        if self.quarantine and self.severity == "critical":
            raise ValueError("`quarantine` keeps rows back and `severity: critical` stops them all; choose one of them")
        return self


class Quality(_Section):
    """Thresholds of the rules about a whole batch, and your own rules."""

    max_quarantined_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="If a larger share of the rows is quarantined, the run stops before anything is sent: "
        "`quarantined_many`.",
    )
    min_rows_to_judge: int = Field(
        default=20, ge=1, description="With fewer rows, the rules about shares, late rows and freshness are not judged."
    )
    future_tolerance_seconds: int = Field(
        default=60, ge=0, le=3600, description="How many seconds ahead of the clock an event time may be."
    )
    rows: ExpectedRows = Field(
        default=ExpectedRows(), description="Number of rows, compared with past runs: `rows_unexpected`."
    )
    lead_ids: IdentifierShare = Field(
        default=IdentifierShare(), description="Rows with Meta's lead id: `lead_ids_few`."
    )
    emails: IdentifierShare = Field(default=IdentifierShare(), description="Rows with an email address: `emails_few`.")
    phones: IdentifierShare = Field(default=IdentifierShare(), description="Rows with a phone number: `phones_few`.")
    late_rows: LateRows = Field(default=LateRows(), description="Rows that arrive long after the event: `rows_late`.")
    new_stages: NewStages = Field(default=NewStages(), description="Stages that no run has seen before: `stages_new`.")
    freshness: Freshness = Field(default=Freshness(), description="Age of the newest row: `rows_stale`.")
    expectations: tuple[OwnRule, ...] = Field(
        default=(), description="Your own rules: expectations of Great Expectations, each with the keys below."
    )
    data_docs: str | None = Field(
        default=None,
        description="An absolute folder, in which Great Expectations writes its Data Docs: results without values.",
    )

    @field_validator("data_docs")
    @classmethod
    def _is_absolute_folder(cls, folder: str | None) -> str | None:
        if folder is not None and not Path(folder).is_absolute():
            raise ValueError("must be an absolute path such as /srv/data-docs, for each worker is somewhere else")
        return folder


class Delivery(_Section):
    """How events are packed and sent."""

    on_in_doubt: Literal["resend", "hold"] = Field(
        default="resend",
        description="What happens to events whose outcome is unknown. `resend` sends them again within 48 hours, with "
        "the same event id. `hold` waits until you decide.",
    )
    chunk_size: int = Field(
        default=META_MAX_EVENTS_PER_REQUEST,
        ge=1,
        le=META_MAX_EVENTS_PER_REQUEST,
        description="Events in a request. The upper bound is Meta's.",
    )
    shard_chunks: int = Field(default=50, ge=1, description="Chunks (request bodies) in a mapped task.")
    parallel_shards: int = Field(default=2, ge=1, le=32, description="Mapped tasks of a run at a time.")
    concurrency: int = Field(default=4, ge=1, le=16, description="Requests at a time in each mapped task.")
    expiry_margin_minutes: int = Field(
        default=60,
        ge=0,
        le=24 * 60,
        description="Events are given up this many minutes before they reach Meta's limit of 7 days, "
        "so that they do not pass it while they wait or are sent again.",
    )
    test_events: int = Field(
        default=50, ge=1, le=META_MAX_EVENTS_PER_REQUEST, description="Most events that a test run sends."
    )
    attempts: int = Field(
        default=5,
        ge=1,
        le=20,
        description="Attempts for a request within a task. Airflow's retries come on top, and longer pauses "
        "(over 2 minutes) are left to them.",
    )
    timeout_seconds: float = Field(default=60, gt=0, le=600, description="How many seconds an answer may take.")

    @property
    def max_event_age(self) -> timedelta:
        """Return the age at which an event is given up: Meta's limit less the margin for waiting and retrying."""
        return META_MAX_EVENT_AGE - timedelta(minutes=self.expiry_margin_minutes)


class DataProcessingOptions(_Section):
    """What Meta may do with the events: "Data Processing Options for US Users" (Limited Data Use)."""

    options: Annotated[tuple[Literal["LDU"], ...], Field(max_length=1)] | None = Field(
        default=None,
        description="`[LDU]` puts Meta's Limited Data Use on every event. `[]` says that you want no restriction. "
        "Without the key, events do not mention it.",
    )
    country: Literal[1] | None = Field(default=None, description="Goes with `[LDU]`: `1` is the United States.")
    state: int | None = Field(
        default=None,
        description="Goes with `[LDU]`: Meta's number of the state, such as `1000` for California. "
        "Meta needs it because events of a CRM have no IP address to find the state by.",
    )

    @model_validator(mode="after")
    def _say_where(self) -> Self:
        """Meta could find the state by an IP address only, which a CRM does not have: so the file must name it."""
        if self.options and (self.country is None or self.state not in LIMITED_DATA_USE_STATES):
            states = ", ".join(f"{number} {name}" for number, name in LIMITED_DATA_USE_STATES.items())
            raise ValueError(f"LDU needs `country: 1` and a `state`, one of {states}")
        if not self.options and (self.country is not None or self.state is not None):
            raise ValueError("country and state go with `options: [LDU]` only")
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

    name: str  # the file's name, not a key in it
    description: str = Field(default="", description="Shown in Airflow.")
    schedule: str = Field(
        default="0 0 * * *",
        description="Cron expression, in `time_zone`. Each run covers the interval that has just ended.",
    )
    starts_on: Literal["schedule", "asset", "both"] = Field(
        default="schedule",
        description="What starts a run: the `schedule`, or an event of the asset `source.asset`, which the DAG that "
        "fills the source table has among its outlets. Runs that an asset starts reach up to the last midnight.",
    )
    time_zone: str = Field(
        default="UTC",
        description="Defines where a day begins, and how source times without an offset are read. "
        "A name such as `Europe/Berlin`.",
    )
    start_date: date = Field(description="First day that a scheduled run or a backfill may cover.")
    lookback_hours: int = Field(
        default=8 * 24,
        ge=1,
        le=31 * 24,
        description="How many hours a daily run looks back for stage changes that are not finished.",
    )
    lease_minutes: int = Field(
        default=15,
        ge=1,
        le=24 * 60,
        description="After this many minutes without a sign of life from a run, another run takes over its unfinished "
        "rows. Must be longer than a request and a pause.",
    )
    retention_days: int = Field(  # a body is not needed any more once all its events are too old for Meta
        default=30,
        ge=8,
        le=3650,
        description="How many days request bodies, which contain hashed identifiers, are kept.",
    )
    ledger_days: int = Field(  # twice the longest lookback at least
        default=400, ge=60, le=36500, description="How many days runs and their part of the ledger are kept."
    )
    connections: Connections = Connections()
    source: Source = Source()
    stages: dict[str, str] = Field(
        min_length=1,
        description="`CRM stage: event name`. Do not change the spelling of an event name later: "
        "Meta tells events apart by it. The report shows the stages in this order, so write the earliest first.",
    )
    lost_stages: tuple[str, ...] | None = Field(
        default=None,
        description="Stages of `stages` that end a lead's way without a sale. The report shows them beside the funnel; "
        "they are sent like any other. Without the key: those whose name has the word lost, disqualified, "
        "unqualified, junk, spam or dead.",
    )
    unmapped_stages: Literal["quarantine", "skip", "fail"] = Field(
        default="quarantine",
        description="What happens to rows whose stage is not under `stages`. `quarantine` holds them back until you "
        "add the stage. `skip` is for stages that Meta should not see. With `fail`, a single row stops the run.",
    )
    default_country: str | None = Field(
        default=None,
        description="Two letters such as `US`: the country of phones, states and post codes in rows without one.",
    )
    date_of_birth_order: Literal["year_first", "day_first", "month_first"] = Field(
        default="year_first", description="How a date of birth such as 01/02/1990 is read."
    )
    data_processing_options: DataProcessingOptions = DataProcessingOptions()
    quality: Quality = Quality()
    delivery: Delivery = Delivery()
    alerts: Alerts = Alerts()

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
        if zone not in _time_zones():
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
        if country is not None and country not in _phone_regions():
            raise ValueError("must be a country's two capital letters such as US")
        return country

    @field_validator("stages")
    @classmethod
    def _have_event_names(cls, stages: dict[str, str]) -> dict[str, str]:
        if blank := [stage for stage, event_name in stages.items() if not (stage.strip() and event_name.strip())]:
            raise ValueError(f"stage {blank[0]!r} has no event name")
        return stages

    @model_validator(mode="after")
    def _know_their_lost_stages(self) -> Self:
        if unknown := sorted(set(self.lost_stages or ()) - set(self.stages)):
            raise ValueError(f"lost_stages: {unknown[0]!r} is not under `stages`; write it as it is written there")
        return self

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
        """Return the time zone that defines where a day begins."""
        return ZoneInfo(self.time_zone)

    @property
    def stages_off_the_way(self) -> frozenset[str]:
        """Return the stages that are no step on the way to a sale."""
        if self.lost_stages is not None:
            return frozenset(self.lost_stages)
        return frozenset(stage for stage, name in self.stages.items() if _SOUNDS_LOST.search(f"{stage} {name}"))

    @property
    def dag_id(self) -> str:
        """Return the id of the DAG that Airflow shows."""
        return dag_id_of(self.name)

    @property
    def source_asset(self) -> str:
        """Return the name of the source table among Airflow's assets."""
        return self.source.asset or f"{self.connections.warehouse}/{self.source.table}"

    @property
    def digest(self) -> str:
        """Return a digest of the configuration: runs with the same digest judged rows by the same rules.

        What starts a run and who is told of it judges none.
        """
        without: Any = {"starts_on": True, "source": {"asset"}, "alerts": True}
        return hashlib.sha256(self.model_dump_json(exclude=without).encode()).hexdigest()[:16]


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
        raise PipelineFileError(f"{_shown(path)}: not readable as YAML{_position(error)}; fix it there.") from None
    except ValueError:  # YAML makes dates and numbers itself
        raise PipelineFileError(
            f"{_shown(path)}: a date in it is not in the calendar, or a number is too long; check `start_date` first."
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


@cache
def _time_zones() -> set[str]:
    return available_timezones()  # reads a folder with hundreds of files


@cache
def _phone_regions() -> set[str]:
    """Return the countries that phonenumbers knows, from the names of its files: importing it takes far longer."""
    spec = find_spec("phonenumbers")
    folders = spec.submodule_search_locations if spec else None
    files = Path(folders[0], "data").glob("region_[A-Z][A-Z].py") if folders else ()
    return {file.stem.removeprefix("region_") for file in files}


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
            return f"key `{key}` is missing; add it (docs/settings.md)."
        case "extra_forbidden":
            return f"key `{key}` is unknown; remove it or correct its spelling (docs/settings.md)."
        case _:
            message = first["msg"].removeprefix("Value error, ")
            return f"key `{key}`: {message}; fix it (docs/settings.md)."
