"""A daily run without Airflow: a pipeline, a warehouse and the stand-in for Meta in; what Airflow would show out.

As in the DAG, a step that fails leaves out what depends on it, each shard is loaded for itself, and audit always runs.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import zlib
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from psycopg import sql

from crm_to_meta.audit.step import Audit, audit
from crm_to_meta.errors import CrmToMetaError, DeliveryIncompleteError
from crm_to_meta.extract.step import Extraction, extract
from crm_to_meta.load.step import Loading, load
from crm_to_meta.meta.client import MetaClient, MetaSettings
from crm_to_meta.models import DagRunFacts, Mode, Shard, Status, Window, event_id_of, staging_table_of
from crm_to_meta.pipeline.settings import Pipeline
from crm_to_meta.transform.step import Transformation, transform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from crm_to_meta.validate.step import Validation
    from crm_to_meta.warehouse import Connection
    from crm_to_meta_demo.meta_stand_in.testing import StandIn

CRM_NAME = "Codex CRM"
SOURCE_COLUMNS = {
    "transition_id": "text",
    "lead_id": "text",
    "stage": "text",
    "event_time": "timestamptz",
    "lead_created_at": "timestamptz",
    "email": "text",
    "phone": "text",
    "first_name": "text",
    "gender": "text",
    "country": "text",
    "value": "numeric",
    "currency": "text",
    "opted_out": "boolean",
}

Row = dict[str, Any]


def configured(pipeline: Pipeline, **sections: Any) -> Pipeline:
    """Return the pipeline with other settings; the members of a section that are not named stay."""
    settings = pipeline.model_dump()
    for name, value in sections.items():
        is_section = isinstance(value, dict) and name != "stages"
        settings[name] = {**settings[name], **value} if is_section else value
    return Pipeline.model_validate(settings)


def create_source(
    warehouse: Connection, columns: Mapping[str, str] | None = None, *, schema: str = "crm", name: str | None = None
) -> None:
    """Create the source table unless it is there."""
    definitions = [
        sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(kind))
        for column, kind in (columns or SOURCE_COLUMNS).items()
    ]
    warehouse.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
    warehouse.execute(
        sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(
            sql.Identifier(schema, name or "lead_stage_transitions"), sql.SQL(", ").join(definitions)
        )
    )


def insert_transitions(
    warehouse: Connection,
    rows: Iterable[Mapping[str, Any]],
    *,
    schema: str = "crm",
    name: str = "lead_stage_transitions",
) -> None:
    """Insert rows into a source table; each has the columns that it names."""
    with warehouse.cursor() as cursor:
        for columns, group in itertools.groupby(rows, key=tuple):
            statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                sql.Identifier(schema.replace("%", "%%"), name.replace("%", "%%")),
                sql.SQL(", ").join(sql.Identifier(column.replace("%", "%%")) for column in columns),
                sql.SQL(", ").join(sql.Placeholder() * len(columns)),
            )
            cursor.executemany(statement, [list(row.values()) for row in group])


@dataclass(slots=True)
class Day:
    """What became of one DAG run."""

    run_key: str = ""
    extraction: Extraction | None = None
    validation: Validation | None = None
    transformations: list[Transformation] = field(default_factory=list)
    loadings: list[Loading] = field(default_factory=list)
    audit: Audit | None = None
    errors: list[CrmToMetaError] = field(default_factory=list)

    @property
    def shards(self) -> list[Shard]:
        """The shards that validate planned."""
        return self.validation.shards if self.validation else []

    @property
    def error_types(self) -> list[type[CrmToMetaError]]:
        """The types of what was raised, in the order of the steps."""
        return [type(error) for error in self.errors]


@dataclass(slots=True, kw_only=True)
class Company:
    """A CRM, a warehouse, a pipeline and a dataset."""

    warehouse: Connection
    connect: Callable[[], Connection]
    stand_in: StandIn
    pipeline: Pipeline
    now: datetime
    token: str = ""
    judges_rows: bool = True
    pauses: list[float] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.token = self.token or self.stand_in.token
        self.move_clock(timedelta())

    def move_clock(self, by: timedelta) -> None:
        """Let time pass, for the company and for Meta."""
        self.now += by
        self.stand_in.set_settings(now_unix_s=int(self.now.timestamp()))

    @property
    def midnight(self) -> datetime:
        """The start of the current day."""
        return self.now.replace(hour=0, minute=0, second=0, microsecond=0)

    def configure(self, **sections: Any) -> None:
        """Change settings of the pipeline."""
        self.pipeline = configured(self.pipeline, **sections)

    def transition(self, **changes: Any) -> Row:
        """Make a sound row of yesterday; each is another lead."""
        number = next(self._numbers)
        sound = {
            "transition_id": f"t-{number:05d}",
            "lead_id": str(10**15 + number),
            "stage": "new",
            "event_time": self.midnight - timedelta(hours=12) + timedelta(seconds=number),
            "email": f"lead{number}@example.com",
        }
        return {**sound, **changes}

    def record(self, *rows: Mapping[str, Any]) -> list[str]:
        """Write rows into the CRM and return their event ids."""
        create_source(self.warehouse)
        insert_transitions(self.warehouse, rows)
        return [str(event_id_of(self.pipeline.name, str(row["transition_id"]))) for row in rows]

    def record_sound(self, number: int, **changes: Any) -> list[str]:
        """Write so many sound rows into the CRM and return their event ids, in the order of their times."""
        return self.record(*(self.transition(**changes) for _ in range(number)))

    def facts(
        self, dag_run_id: str | None = None, *, mode: Mode = Mode.LIVE, days: int = 8, **window: Any
    ) -> DagRunFacts:
        """Return the facts of a DAG run; by default of a daily run that ends at the last midnight."""
        end = window.get("end", self.midnight)
        start = window.get("start", end - timedelta(days=days))
        return DagRunFacts(
            dag_run_id=dag_run_id or f"run-{next(self._numbers)}",
            run_type="scheduled",
            mode=mode,
            window=Window(start=start, end=end, is_sweep=window.get("is_sweep", True)),
        )

    def client(self) -> MetaClient:
        """Return a client with the company's token."""
        settings = MetaSettings(
            dataset_id=self.stand_in.dataset_id, crm_name=CRM_NAME, token=self.token, base_url=self.stand_in.base_url
        )
        return MetaClient(settings, timeout_s=self.pipeline.delivery.timeout_seconds)

    def extract(self, facts: DagRunFacts | None = None) -> Extraction:
        """Run the step."""
        return extract(self.warehouse, self.pipeline, facts or self.facts(), now=self.now)

    def validate(self, run_key: str) -> Validation:
        """Run the step; without `judges_rows` it finds every row sound."""
        from crm_to_meta.validate.step import Validation, plan_shards, validate

        if not self.judges_rows:
            rows = self.run_row(run_key)["staged"]
            shards = plan_shards(self.pipeline, run_key=run_key, rows=rows)
            return Validation(accepted=rows, held_back=0, shards=shards)
        return validate(self.warehouse, self.pipeline, run_key=run_key, now=self.now)

    def transform(self, shard: Shard, *, test_event_code: str | None = None) -> Transformation:
        """Run the step."""
        return transform(self.warehouse, self.pipeline, shard, crm_name=CRM_NAME, test_event_code=test_event_code)

    def load(self, shard: Shard, *, mode: Mode = Mode.LIVE, client: MetaClient | None = None) -> Loading:
        """Run the step; it waits for nothing."""
        with client or self.client() as opened:
            return load(
                self.warehouse,
                self.pipeline,
                shard,
                opened,
                mode=mode,
                sleep=self.pauses.append,
                now=lambda: self.now,
            )

    def audit(self, run_key: str) -> Audit:
        """Run the step."""
        return audit(self.warehouse, self.pipeline, run_key=run_key, now=self.now)

    def audit_anyhow(self, run_key: str) -> None:
        """Run the step, and let it say that events are left."""
        with contextlib.suppress(DeliveryIncompleteError):
            self.audit(run_key)

    def prepare(self, facts: DagRunFacts | None = None, *, test_event_code: str | None = None) -> Day:
        """Do everything up to the sending."""
        day = Day()
        day.extraction = self.extract(facts)
        day.run_key = day.extraction.run_key
        day.validation = self.validate(day.run_key)
        day.transformations = [self.transform(shard, test_event_code=test_event_code) for shard in day.shards]
        return day

    def run_day(self, facts: DagRunFacts | None = None, *, test_event_code: str | None = None) -> Day:
        """Do all five steps as the DAG would."""
        day, facts = Day(), facts or self.facts()
        day.extraction = self.extract(facts)
        day.run_key = day.extraction.run_key
        try:
            day.validation = self.validate(day.run_key)
        except CrmToMetaError as error:
            day.errors.append(error)
        for shard in day.shards:
            try:
                day.transformations.append(self.transform(shard, test_event_code=test_event_code))
                if facts.mode is not Mode.PREVIEW:
                    day.loadings.append(self.load(shard, mode=facts.mode))
            except CrmToMetaError as error:
                day.errors.append(error)
        try:
            day.audit = self.audit(day.run_key)
        except CrmToMetaError as error:
            day.errors.append(error)
        return day

    def end_lease(self, run_key: str) -> None:
        """Let the lease of a run be over."""
        self.warehouse.execute(
            "UPDATE capi.run SET lease_until = now() - interval '1 second' WHERE run_key = %s", [run_key]
        )

    def end_pauses(self) -> None:
        """Let the pauses that Meta asked for be over."""
        self.warehouse.execute("UPDATE capi.run SET paused_until = now() - interval '1 second'")

    def staged(self, run_key: str) -> list[Row]:
        """Return the staged rows of a run."""
        return self.select("SELECT * FROM {} ORDER BY row_no", sql.Identifier("capi", staging_table_of(run_key)))

    def ledger(self) -> dict[str, Row]:
        """Return the ledger by event id."""
        return {str(row["event_id"]): row for row in self.select("SELECT * FROM capi.delivery ORDER BY event_id")}

    def outcomes(self) -> dict[str | None, tuple[str, str | None]]:
        """Return status and reason by transition id."""
        return {row["transition_id"]: (row["status"], row["reason"]) for row in self.ledger().values()}

    def statuses(self) -> dict[str, int]:
        """Return the number of rows of the ledger by status."""
        return dict(self.warehouse.execute("SELECT status, count(*) FROM capi.delivery GROUP BY 1").fetchall())

    def requests(self, run_key: str | None = None) -> list[Row]:
        """Return the requests on record."""
        rows = self.select("SELECT * FROM capi.request ORDER BY request_id")
        return [row for row in rows if run_key in (None, row["run_key"])]

    def bodies(self, run_key: str) -> list[bytes]:
        """Return the stored bodies of a run, unpacked, in order."""
        rows = self.select("SELECT body FROM capi.chunk WHERE run_key = {} ORDER BY chunk_no", sql.Literal(run_key))
        return [zlib.decompress(row["body"]) for row in rows]

    def run_row(self, run_key: str) -> Row:
        """Return the record of a run."""
        return self.select("SELECT * FROM capi.run WHERE run_key = {}", sql.Literal(run_key))[0]

    def received(self) -> list[dict[str, Any]]:
        """Return the events that Meta took, in order of arrival, as often as it took them."""
        return [entry["event"] for entry in self.stand_in.events()]

    def received_ids(self) -> list[str]:
        """Return the ids of the events that Meta took, in order of arrival, as often as it took them."""
        return [event["event_id"] for event in self.received()]

    def select(self, query: str, *parts: sql.Composable) -> list[Row]:
        """Return the rows of a query as dictionaries."""
        cursor = self.warehouse.execute(sql.SQL(query).format(*parts))
        assert cursor.description is not None
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]


def assert_conserved(company: Company, run_key: str) -> None:
    """Law 1, by the run's record and again by the ledger: each extracted row is in exactly one status."""
    run = company.run_row(run_key)
    in_ledger = company.select(
        "SELECT status, count(*) AS rows FROM capi.delivery WHERE run_key = {} GROUP BY 1", sql.Literal(run_key)
    )
    counted = {str(status): run[status] for status in Status if run[status]}

    assert run["extracted"] == sum(counted.values())
    assert {row["status"]: row["rows"] for row in in_ledger} == counted


def assert_ledger_matches_meta(company: Company) -> None:
    """What the ledger says of each event is what the stand-in saw of it; what came twice is on record as doubtful."""
    times = Counter(company.received_ids())
    ledger = company.ledger()
    certain = {event_id: row for event_id, row in ledger.items() if not row["doubts"]}

    assert times.keys() <= ledger.keys()
    assert {
        event_id for event_id, row in certain.items() if row["status"] == "delivered"
    } == times.keys() & certain.keys()
    assert {event_id for event_id, row in ledger.items() if row["status"] == "delivered"} <= times.keys()
    assert {event_id for event_id, number in times.items() if number > 1 and not ledger[event_id]["doubts"]} == set()


def events_of(body: bytes) -> list[dict[str, Any]]:
    """Return the events of a request body."""
    events: list[dict[str, Any]] = json.loads(body)["data"]
    return events
