"""Audit: everything above in, the run's final figures out. Runs whatever happened before, writes first, then raises.

A green last task would otherwise turn a bad run green, so this one fails where a law does not hold or events are left.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from crm_to_meta.audit.elsewhere import Elsewhere, Situation, describe_elsewhere, find_elsewhere
from crm_to_meta.errors import DeliveryIncompleteError, HeldElsewhereError, LawBrokenError
from crm_to_meta.models import Mode, Status, held_back_table_of, staging_table_of
from crm_to_meta.warehouse import Connection, execute, one_row, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crm_to_meta.pipeline.settings import Pipeline

SHORTEST_WAIT_S: Final = 15.0  # for another run that is at work
_HELD_BACK: Final = frozenset({Status.QUARANTINED, Status.SKIPPED, Status.EXPIRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What a run came to: its rows per status, those that a later run took over and counts, and what others hold."""

    run_key: str
    extracted: int
    counts: Mapping[Status, int]
    taken_over: int = 0
    elsewhere: Sequence[Elsewhere] = ()

    @property
    def is_conserved(self) -> bool:
        """Say whether each extracted row is in exactly one status."""
        return self.extracted == sum(self.counts.values()) + self.taken_over


def audit(connection: Connection, pipeline: Pipeline, *, run_key: str, now: datetime | None = None) -> Audit:
    """Record the run's figures, clear away what is personal, and check the laws. May be repeated.

    Args:
        connection: to the warehouse, in autocommit mode.
        pipeline: the run's.
        run_key: the run to close.
        now: the moment that the age of doubts is measured against.

    Raises:
        LawBrokenError: the counts do not add up, or the ledger differs from what was sent.
        DeliveryIncompleteError: a live or test run leaves events pending or in doubt; or another run, not at work any
            more, left some of a live run's window.
        HeldElsewhereError: nothing is left but what another run is at work on.
    """
    now = now or datetime.now(UTC)
    scope = {"run_key": run_key}
    with connection.transaction():
        run = execute(connection, "audit/find_run", scope).fetchone()  # locks it: from here on nothing more is sent
        if run is None:
            raise LawBrokenError(f"Run {run_key} is not in capi.run; nothing can be audited.")
        # Where the worker of a load died and no try is left, its last request has no answer.
        execute(connection, "ledger/record_doubts", {"run_keys": [run_key], "shard_no": None})
        mode, extracted, stop_reason, taken_over = Mode(run[0]), int(run[1]), run[2], int(run[3])
        started_at, read_at = run[4:]
        rows = _read_outcomes(connection, run_key, mode)
        counts = {status: sum(number for _, found, _, number in rows if found == status) for status in Status}
        elsewhere = find_elsewhere(connection, pipeline, run_key=run_key, now=now)
        if mode is not Mode.LIVE:  # which takes what other runs left, and claims none of it
            elsewhere = [one for one in elsewhere if one.situation is not Situation.LEFT]
        result = Audit(run_key=run_key, extracted=extracted, counts=counts, taken_over=taken_over, elsewhere=elsewhere)
        problem = _find_broken_law(connection, result, mode) or _find_unfinished(
            result, mode, stop_reason, started_at=started_at, read_at=read_at
        )
        figures = {
            **_figures_of(result, rows),
            "fields": one_row(execute(connection, "audit/sum_fields", scope))[0] or {},
            "stages": _list_stages(pipeline),
            "leads": count_leads(connection, run_key) if mode is Mode.LIVE else {},  # other modes keep no ledger
        }
        _record(connection, result, figures, state="failed" if problem else "succeeded")
        execute(connection, "ledger/drop_table", table=table(staging_table_of(run_key)))
        execute(connection, "ledger/drop_table", table=table(held_back_table_of(run_key)))
    if problem:
        raise problem
    return result


def _read_outcomes(connection: Connection, run_key: str, mode: Mode) -> list[tuple[str, str, str | None, int]]:
    """Count rows by CRM stage, status and reason: from the ledger, or in other modes from chunks and rows held back."""
    if mode is Mode.LIVE:
        return execute(connection, "audit/count_ledger", {"run_key": run_key}).fetchall()
    execute(connection, "audit/ensure_held_back", held_back=table(held_back_table_of(run_key)))
    held_back = table(held_back_table_of(run_key))
    return execute(connection, "audit/count_chunks", {"run_key": run_key}, held_back=held_back).fetchall()


def _find_broken_law(connection: Connection, result: Audit, mode: Mode) -> LawBrokenError | None:
    if not result.is_conserved:
        return LawBrokenError(
            f"Run {result.run_key}: {result.extracted} rows were extracted, but the statuses add up to "
            f"{sum(result.counts.values())} ({_listed(result.counts)}), and later runs took {result.taken_over} over. "
            "Please report this."
        )
    in_ledger, in_requests = execute(connection, "audit/count_delivered", {"run_key": result.run_key}).fetchall()[0]
    if mode is Mode.LIVE and in_ledger != in_requests:
        return LawBrokenError(
            f"Run {result.run_key}: the ledger has {in_ledger} delivered events, the requests on record delivered "
            f"{in_requests}. Please report this."
        )
    return None


def _find_unfinished(
    result: Audit, mode: Mode, stop_reason: str | None, *, started_at: datetime, read_at: datetime
) -> DeliveryIncompleteError | HeldElsewhereError | None:
    """Return what keeps a run from ending well: events of its own that are left, or events of its window elsewhere."""
    own = []
    if mode is not Mode.PREVIEW and result.counts[Status.PENDING] + result.counts[Status.IN_DOUBT]:
        why = f" Sending was stopped: {stop_reason}." if stop_reason else ""
        own.append(
            f"{result.counts[Status.PENDING]} events are pending and {result.counts[Status.IN_DOUBT]} in doubt.{why} "
            "Fix what the failed task says and clear it, or let the next run send them (what is held in doubt waits "
            "for your decision: docs/operations.md)."
        )
    others = describe_elsewhere(result.elsewhere) if mode is Mode.LIVE else []
    if not own + others:
        return None
    message = f"Run {result.run_key}: {' '.join(own or ['its own part is done.'])} {' '.join(others)}".rstrip()
    if own or any(one.situation is not Situation.AT_WORK for one in result.elsewhere):
        return DeliveryIncompleteError(message)
    # Twice as long each time, and no longer than until it is known whether the other run is alive.
    lease_until = min(one.lease_until for one in result.elsewhere)
    wait_s = min((read_at - started_at).total_seconds(), (lease_until - read_at).total_seconds())
    return HeldElsewhereError(message, retry_after_s=max(wait_s, SHORTEST_WAIT_S))


def count_leads(connection: Connection, run_key: str) -> dict[str, dict[str, int]]:
    """Count by CRM stage the leads of a live run: all, those with a delivered event, and rows without a lead id."""
    found = execute(connection, "audit/count_leads", {"run_key": run_key})
    return {stage: {"all": leads, "delivered": delivered, "unknown": rows} for stage, leads, delivered, rows in found}


def _list_stages(pipeline: Pipeline) -> list[dict[str, str | bool]]:
    """List the stages of the pipeline file in its order: a JSON object would lose it."""
    lost = pipeline.stages_off_the_way
    return [
        {"stage": stage, "event_name": event_name, "is_lost": stage in lost}
        for stage, event_name in pipeline.stages.items()
    ]


def _figures_of(result: Audit, rows: list[tuple[str, str, str | None, int]]) -> dict[str, Any]:
    by_stage: dict[str, dict[str, int]] = {}
    by_reason: dict[str, int] = {}
    for stage, status, reason, number in rows:
        per_status = by_stage.setdefault(stage, {})
        per_status[status] = per_status.get(status, 0) + number
        if reason:
            by_reason[reason] = by_reason.get(reason, 0) + number
    return {
        "by_stage": by_stage,
        "by_reason": by_reason,
        "held_back": [
            {"stage": stage, "status": status, "reason": reason, "rows": number}
            for stage, status, reason, number in rows
            if reason and status in _HELD_BACK
        ],
        "taken_over": result.taken_over,  # the column grows afterwards; the counts beside it do not
        "elsewhere": [one.as_json() for one in result.elsewhere],
    }


def _record(connection: Connection, result: Audit, figures: Mapping[str, Any], *, state: str) -> None:
    execute(
        connection,
        "audit/close_run",
        {
            "run_key": result.run_key,
            "state": state,
            "figures": json.dumps(figures),
            **{str(status): number for status, number in result.counts.items()},
        },
    )


def _listed(counts: Mapping[Status, int]) -> str:
    return ", ".join(f"{number} {status}" for status, number in counts.items())
