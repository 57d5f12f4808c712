"""Checks the two ends of a pipeline, the warehouse and Meta, and says in plain sentences what works and what does not.

Meta is asked with one request whose only event it has to refuse: it is older than Meta takes and says too little about
anybody. Which refusal comes back tells whether token, dataset and permissions are good; nothing can be processed.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from crm_to_meta.errors import CrmToMetaError
from crm_to_meta.extract.source import read_source_columns
from crm_to_meta.ledger.schema import missing_migrations, require_schema_rights
from crm_to_meta.meta.answers import STOPPING, Action, Answer
from crm_to_meta.meta.body import build_body, write_json
from crm_to_meta.meta.limits import META_MAX_EVENT_AGE
from crm_to_meta.pipeline.settings import SOURCE_FIELDS
from crm_to_meta.reasons import explain_answer
from crm_to_meta.warehouse import SCHEMA, execute, one_row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from crm_to_meta.meta.client import MetaClient, MetaSettings
    from crm_to_meta.pipeline.settings import Pipeline
    from crm_to_meta.warehouse import Connection

EVENT_SUBCODES: Final = range(2804000, 2805000)  # "Error Reference": about an event, so everything before was good
PROBE_AGE: Final = META_MAX_EVENT_AGE + timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found about one part, in a sentence."""

    part: str
    is_good: bool
    sentence: str


def check_warehouse(connection: Connection, pipeline: Pipeline) -> Iterator[Finding]:
    """Yield what is found about server, source table and schema; nothing is changed."""
    version, database, role = one_row(execute(connection, "check/describe_server"))
    yield _good("warehouse", f"PostgreSQL {version}, database {database}, role {role}")
    yield _check_source(connection, pipeline)
    yield _check_schema(connection)


def check_meta(client: MetaClient, settings: MetaSettings, *, now: datetime) -> Finding:
    """Return what one request that cannot be processed finds out about Meta."""
    answer = client.send_events(build_body([build_probe(settings.crm_name, now=now)]), events=1)
    trace = f" (fbtrace_id {answer.fbtrace_id})" if answer.fbtrace_id else ""
    where = f"dataset {settings.dataset_id}, API {settings.api_version}"
    if answer.action is Action.PAYLOAD and answer.subcode in EVENT_SUBCODES:
        return _good("Meta", f"token, permissions and {where} work; the event was refused, as was to be seen{trace}")
    if answer.action is Action.DELIVERED:
        return _good("Meta", f"token, permissions and {where} work; the event was taken, and matches nobody{trace}")
    if answer.action in STOPPING:
        return Finding(part="Meta", is_good=False, sentence=explain_answer(answer))
    return Finding(part="Meta", is_good=False, sentence=f"{_why_unclear(answer, settings)}{trace}")


def build_probe(crm_name: str, *, now: datetime) -> str:
    """Return an event that Meta refuses for two reasons: its age, and a gender alone, which matches nobody."""
    return write_json({
        "event_name": "crm_to_meta_check",
        "event_time": int((now - PROBE_AGE).timestamp()),
        "event_id": str(uuid.uuid4()),
        "action_source": "system_generated",
        "custom_data": {"event_source": "crm", "lead_event_source": crm_name},
        "user_data": {"ge": [hashlib.sha256(b"f").hexdigest()]},
    })  # fmt: skip


def _check_source(connection: Connection, pipeline: Pipeline) -> Finding:
    part, name = "source table", pipeline.source.table
    try:
        columns = read_source_columns(connection, pipeline)
    except CrmToMetaError as error:
        return _bad(part, error)
    absent = [field for field in SOURCE_FIELDS if field not in columns]
    without = f"; without {', '.join(absent)}" if absent else ""
    return _good(part, f"{name}: {len(columns)} of {len(SOURCE_FIELDS)} fields have a column{without}")


def _check_schema(connection: Connection) -> Finding:
    part = f"schema {SCHEMA}"
    try:
        is_there = require_schema_rights(connection)
        missing = missing_migrations(connection)
    except CrmToMetaError as error:
        return _bad(part, error)
    if not is_there:
        return _good(part, "not there yet; the first run makes it")
    return _good(part, f"there; the next run adds {', '.join(missing)}" if missing else "there and up to date")


def _why_unclear(answer: Answer, settings: MetaSettings) -> str:
    """Return why the answer says nothing about token and dataset."""
    if answer.http_status is None:
        return f"no answer from {answer.cause}. Check `base_url` in the connection, too: it is {settings.base_url}."
    if answer.action is Action.RATE_LIMIT:
        return f"{answer.name}: Meta limits the rate of this app for now; check again later."
    if answer.action is Action.PAYLOAD:
        return f"{answer.name}: Meta refused the request without saying why; often the token lacks a permission."
    return f"{answer.name}: this answer tells nothing about token and dataset; check `base_url`, and again later."


def _good(part: str, sentence: str) -> Finding:
    return Finding(part=part, is_good=True, sentence=sentence)


def _bad(part: str, error: CrmToMetaError) -> Finding:
    return Finding(part=part, is_good=False, sentence=str(error))
