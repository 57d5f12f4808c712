"""Read everything that the report shows about a run: counts, ids and names, from the schema `capi` alone.

An audited run shows the figures that its audit stored. For any other run, the ledger is counted as it is now.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from psycopg.pq import TransactionStatus

from crm_to_meta.audit.elsewhere import Elsewhere
from crm_to_meta.audit.step import count_leads
from crm_to_meta.errors import ConfigurationError
from crm_to_meta.models import Mode, Reason, Status
from crm_to_meta.report.rows import ListedRows, list_rows
from crm_to_meta.warehouse import Connection, Cursor, execute, one_row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

MAX_FAILED_REQUESTS: Final = 20
MAX_RUNS: Final = 30
NO_STAGE: Final = "(none)"  # rows without a stage: audit/sql/count_ledger.sql
ALL_STAGES: Final = "(sent)"  # all events of a test run: audit/sql/count_chunks.sql
NOT_TRANSFORMED: Final = "(not transformed)"  # rows without an event: audit/sql/count_chunks.sql

StageCounts = dict[str, dict[Status, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A row of capi.run, without its counts and figures."""

    run_key: str
    pipeline: str
    mode: Mode
    dag_run_id: str
    run_type: str
    pass_no: int
    window_start: datetime
    window_end: datetime
    is_sweep: bool
    configuration_digest: str
    state: str
    lease_until: datetime
    stop_reason: str | None
    extracted: int
    staged: int
    held: int
    taken_over: int
    timings: Mapping[str, float]
    started_at: datetime
    finished_at: datetime | None
    read_at: datetime

    @property
    def is_audited(self) -> bool:
        """Whether the audit has closed the run. A run that starts again is open again."""
        return self.state in {"succeeded", "failed"}


class MappedStage(NamedTuple):
    """A stage of the pipeline file, with the name of its event. Lost stages are no step on the way to a sale."""

    stage: str
    event_name: str
    is_lost: bool


class Leads(NamedTuple):
    """The leads of a stage by Meta's lead id: all, and those with a delivered event; and the rows without that id."""

    leads: int
    delivered: int
    without_id: int


class QualityRule(NamedTuple):
    """A row of capi.quality: a rule of the data contract and its result in the run."""

    expectation: str
    reason: str
    description: str
    severity: str
    checked: int
    failed: int
    success: bool
    observed: str | None

    @property
    def is_about_batch(self) -> bool:
        """Whether the rule is about the batch as a whole. Only those rules have an observed figure."""
        return self.observed is not None

    @property
    def words(self) -> str:
        """The text that tells apart rules with the same reason; empty where the reason is enough."""
        return self.description if self.reason == Reason.OWN_RULE else ""


class RuleResult(NamedTuple):
    """The result of a rule in one run. `words` tells apart the rules that a pipeline file adds."""

    run_key: str
    reason: str
    words: str
    checked: int
    failed: int
    success: bool


class Outcome(NamedTuple):
    """How many requests had an outcome, and the number of events in them."""

    outcome: str
    requests: int
    events: int


class MetaAnswer(NamedTuple):
    """How many requests got the same answer from Meta."""

    http_status: int | None
    code: int | None
    subcode: int | None
    requests: int


class Durations(NamedTuple):
    """How long the answered requests took, in milliseconds."""

    requests: int
    median_ms: float | None
    p95_ms: float | None


class FailedRequest(NamedTuple):
    """A request that delivered nothing."""

    sent_at: datetime
    outcome: str
    chunk_no: int
    events: int
    http_status: int | None
    code: int | None
    subcode: int | None
    fbtrace_id: str | None


class PastRun(NamedTuple):
    """The counts of a run of the same pipeline and mode, for the trend."""

    run_key: str
    window_end: datetime
    is_sweep: bool
    extracted: int
    delivered: int
    ready: int
    rejected: int
    quarantined: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that the page shows.

    `accepted` are the rows that passed the contract; of them, `held_back_late` had no identifier that transform could
    use. `listed_rows` are those that the ledger still has with this run.
    """

    run: Run
    counts: Mapping[Status, int]
    by_stage: StageCounts
    by_reason: Mapping[str, int]
    stages: Sequence[MappedStage]
    leads: Mapping[str, Leads]
    listed_rows: Mapping[str, ListedRows]
    fields: Mapping[str, Mapping[str, int]]
    accepted: int
    held_back_late: int
    rules: Sequence[QualityRule]
    outcomes: Sequence[Outcome]
    answers: Sequence[MetaAnswer]
    durations: Durations
    failed_requests: Sequence[FailedRequest]
    past_runs: Sequence[PastRun]
    rule_results: Sequence[RuleResult]
    elsewhere: Sequence[Elsewhere]
    taken_over_at_audit: int

    @property
    def elsewhere_count(self) -> int:
        """Unfinished events of the window that other runs had when this one was audited."""
        return sum(found.events for found in self.elsewhere)

    @property
    def differs_from_requests(self) -> bool:
        """Whether ledger and requests of a live run differ in their delivered events. The audit fails such a run."""
        in_requests = sum(found.events for found in self.outcomes if found.outcome == "delivered")
        in_ledger = self.counts[Status.DELIVERED] - self.by_reason.get(Reason.SETTLED_BY_HAND, 0)
        return self.run.mode is Mode.LIVE and in_requests != in_ledger

    @property
    def left_behind(self) -> int:
        """Rows that an earlier run left pending and that became too old: expired in the ledger, without a new look."""
        return min(max(self.run.extracted - self.run.staged, 0), self.by_reason.get(Reason.EVENT_TOO_OLD, 0))

    @property
    def unusable(self) -> int:
        """Quarantined rows that passed the contract, and whose identifiers transform then could not use."""
        return min(self.held_back_late, self.by_reason.get(Reason.NO_IDENTIFIER, 0))

    @property
    def handed_over(self) -> int:
        """Rows that a later run took over and counts. For a live run that was given up: everything that it left."""
        if self.run.state == "abandoned" and self.run.mode is Mode.LIVE:
            return self.run.extracted - sum(self.counts.values())
        return self.taken_over_at_audit

    @property
    def handed_over_since(self) -> int:
        """Rows that a later run took over after the audit. The counts by status still contain them."""
        return self.run.taken_over - self.taken_over_at_audit

    @property
    def uncounted(self) -> int:
        """Extracted rows without a status on record. A negative number means that a row was counted twice."""
        return self.run.extracted - self.handed_over - sum(self.counts.values())


@contextmanager
def reading_at_once(connection: Connection) -> Iterator[None]:
    """Let all statements of the block see one moment, unless a transaction is open already."""
    is_free = connection.info.transaction_status == TransactionStatus.IDLE
    with connection.transaction():
        if is_free:
            execute(connection, "report/begin_snapshot")
        yield


def read_facts(connection: Connection, run_key: str) -> Facts:
    """Read the facts of a run.

    Raises:
        ConfigurationError: there is no such run.
    """
    scope = {"run_key": run_key}
    latest = {**scope, "limit": MAX_RUNS}
    worst = {**scope, "limit": MAX_FAILED_REQUESTS}
    run, row = _read_run(connection, run_key)
    figures = row["figures"] if run.is_audited else {}
    if run.is_audited:
        counts = {status: int(row[status]) for status in Status}
        by_stage, by_reason = _stages_of(figures.get("by_stage", {})), figures.get("by_reason", {})
        per_field = figures.get("fields", {})
    else:
        counts, by_stage, by_reason = _count_so_far(connection, run)
        per_field = _single(execute(connection, "audit/sum_fields", scope)) or {}
    accepted, held_back_late = one_row(execute(connection, "report/count_accepted", scope))
    past_runs = [PastRun(*found) for found in execute(connection, "report/list_runs", latest)]
    shown_runs = {"run_keys": [past.run_key for past in past_runs]}
    return Facts(
        run=run,
        counts=counts,
        by_stage=by_stage,
        by_reason=by_reason,
        stages=[MappedStage(**kept) for kept in _single(execute(connection, "report/find_stages", scope)) or ()],
        leads={
            stage: Leads(found["all"], found["delivered"], found["unknown"])
            for stage, found in _leads_of(connection, run, figures).items()
        },
        listed_rows=list_rows(connection, run_key, by_reason) if run.mode is Mode.LIVE and by_reason else {},
        fields=per_field,
        accepted=int(accepted),
        held_back_late=int(held_back_late),
        rules=[QualityRule(*found) for found in execute(connection, "report/list_quality", scope)],
        outcomes=[Outcome(*found) for found in execute(connection, "report/count_outcomes", scope)],
        answers=[MetaAnswer(*found) for found in execute(connection, "report/count_answers", scope)],
        durations=Durations(*execute(connection, "report/measure_requests", scope).fetchall()[0]),
        failed_requests=[FailedRequest(*found) for found in execute(connection, "report/list_failed_requests", worst)],
        past_runs=past_runs,
        rule_results=[RuleResult(*found) for found in execute(connection, "report/list_rule_results", shown_runs)],
        elsewhere=[Elsewhere.from_json(kept) for kept in figures.get("elsewhere", ())],
        taken_over_at_audit=figures.get("taken_over", run.taken_over),
    )


def _read_run(connection: Connection, run_key: str) -> tuple[Run, dict[str, Any]]:
    cursor = execute(connection, "report/read_run", {"run_key": run_key})
    found = cursor.fetchone()
    if found is None:
        raise ConfigurationError(
            f"There is no run {run_key[:60]!r} in this warehouse; `SELECT run_key FROM capi.run ORDER BY started_at` "
            "lists the known runs."
        )
    names = [column.name for column in cursor.description or ()]
    row = dict(zip(names, found, strict=True))
    values = {field.name: row[field.name] for field in fields(Run)}
    return Run(**{**values, "mode": Mode(row["mode"])}), row


def _count_so_far(connection: Connection, run: Run) -> tuple[dict[Status, int], StageCounts, dict[str, int]]:
    """Count the ledger. Test and preview runs do not write it: for them, count the events that requests delivered."""
    scope = {"run_key": run.run_key}
    counts = dict.fromkeys(Status, 0)
    by_stage: StageCounts = {}
    by_reason: dict[str, int] = {}
    if run.mode is not Mode.LIVE:
        outcomes = {outcome: int(events) for outcome, _, events in execute(connection, "report/count_outcomes", scope)}
        counts[Status.DELIVERED] = outcomes.get("delivered", 0)
        return counts, by_stage, by_reason
    for stage, found, reason, number in execute(connection, "audit/count_ledger", scope):
        status = Status(found)
        counts[status] += number
        per_status = by_stage.setdefault(stage, {})
        per_status[status] = per_status.get(status, 0) + number
        if reason:
            by_reason[reason] = by_reason.get(reason, 0) + number
    return counts, by_stage, by_reason


def _leads_of(connection: Connection, run: Run, figures: Mapping[str, Any]) -> Mapping[str, Mapping[str, int]]:
    """Return the leads by stage. An audit of an older version counted none; by now, its rows may have moved on."""
    if run.is_audited or run.mode is not Mode.LIVE:
        return figures.get("leads", {})  # type: ignore[no-any-return] # as audit wrote it down
    return count_leads(connection, run.run_key)


def _stages_of(figures: Mapping[str, Mapping[str, int]]) -> StageCounts:
    return {
        stage: {Status(status): number for status, number in per_status.items()}
        for stage, per_status in figures.items()
    }


def _single(cursor: Cursor) -> Any:
    row = cursor.fetchone()
    return row[0] if row else None
