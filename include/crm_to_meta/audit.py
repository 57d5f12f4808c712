"""Audit: everything above in, the run's final figures out. Runs whatever happened before, writes first, then raises.

A green last task would otherwise turn a bad run green, so this one fails where a law does not hold or events are left.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from crm_to_meta.errors import DeliveryIncompleteError, LawBrokenError
from crm_to_meta.models import Mode, Status, staging_table_of, verdict_table_of
from crm_to_meta.warehouse import Connection, execute, table

if TYPE_CHECKING:
    from collections.abc import Mapping


_HELD_BACK: Final = frozenset({Status.QUARANTINED, Status.SKIPPED, Status.EXPIRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What a run came to: its rows per status, and those that a later run took over and counts."""

    run_key: str
    extracted: int
    counts: Mapping[Status, int]
    taken_over: int = 0

    @property
    def is_conserved(self) -> bool:
        """Say whether each extracted row is in exactly one status."""
        return self.extracted == sum(self.counts.values()) + self.taken_over


def audit(connection: Connection, *, run_key: str) -> Audit:
    """Record the run's figures, clear away what is personal, and check the laws.

    Args:
        connection: to the warehouse, in autocommit mode.
        run_key: the run to close.

    Raises:
        LawBrokenError: the counts do not add up, or the ledger differs from what was sent.
        DeliveryIncompleteError: a live or test run leaves events pending or in doubt.
    """
    scope = {"run_key": run_key}
    with connection.transaction():
        run = execute(connection, "audit_find_run", scope).fetchone()  # locks it: from here on nothing more is sent
        if run is None:
            raise LawBrokenError(f"Run {run_key} is not in capi.run; nothing can be audited.")
        # Where the worker of a load died and no try is left, its last request has no answer.
        execute(connection, "record_doubts", {"run_keys": [run_key], "shard_no": None})
        mode, extracted, stop_reason, taken_over = Mode(run[0]), int(run[1]), run[2], int(run[3])
        rows = _read_outcomes(connection, run_key, mode)
        counts = {status: sum(number for _, found, _, number in rows if found == status) for status in Status}
        result = Audit(run_key=run_key, extracted=extracted, counts=counts, taken_over=taken_over)
        problem = _find_problem(connection, result, mode, stop_reason)
        _record(connection, result, rows, state="failed" if problem else "succeeded")
        execute(connection, "drop_table", table=table(staging_table_of(run_key)))
        execute(connection, "drop_table", table=table(verdict_table_of(run_key)))
    if problem:
        raise problem
    return result


def _read_outcomes(connection: Connection, run_key: str, mode: Mode) -> list[tuple[str, str, str | None, int]]:
    """Return CRM stage, status, reason and number of rows: of the ledger, or for other modes of chunks and verdicts."""
    if mode is Mode.LIVE:
        return execute(connection, "audit_count_ledger", {"run_key": run_key}).fetchall()
    execute(connection, "audit_ensure_verdict", verdict=table(verdict_table_of(run_key)))
    verdict = table(verdict_table_of(run_key))
    return execute(connection, "audit_count_chunks", {"run_key": run_key}, verdict=verdict).fetchall()


def _find_problem(
    connection: Connection, result: Audit, mode: Mode, stop_reason: str | None
) -> LawBrokenError | DeliveryIncompleteError | None:
    if not result.is_conserved:
        return LawBrokenError(
            f"Run {result.run_key}: {result.extracted} rows were extracted, but the statuses add up to "
            f"{sum(result.counts.values())} ({_listed(result.counts)}), and later runs took {result.taken_over} over. "
            "Please report this."
        )
    in_ledger, in_requests = execute(connection, "audit_count_delivered", {"run_key": result.run_key}).fetchall()[0]
    if mode is Mode.LIVE and in_ledger != in_requests:
        return LawBrokenError(
            f"Run {result.run_key}: the ledger has {in_ledger} delivered events, the requests on record delivered "
            f"{in_requests}. Please report this."
        )
    left = result.counts[Status.PENDING] + result.counts[Status.IN_DOUBT]
    if mode is Mode.PREVIEW or not left:
        return None
    why = f" Sending was stopped: {stop_reason}." if stop_reason else ""
    return DeliveryIncompleteError(
        f"Run {result.run_key}: {result.counts[Status.PENDING]} events are pending and "
        f"{result.counts[Status.IN_DOUBT]} in doubt.{why} Mend what the failed task says and clear it, or let the next "
        "run send them (what is held in doubt waits for a person: README.md, When something goes wrong)."
    )


def _record(connection: Connection, result: Audit, rows: list[tuple[str, str, str | None, int]], *, state: str) -> None:
    by_stage: dict[str, dict[str, int]] = {}
    by_reason: dict[str, int] = {}
    for stage, status, reason, number in rows:
        per_status = by_stage.setdefault(stage, {})
        per_status[status] = per_status.get(status, 0) + number
        if reason:
            by_reason[reason] = by_reason.get(reason, 0) + number
    fields = execute(connection, "audit_sum_fields", {"run_key": result.run_key}).fetchone()
    figures: dict[str, Any] = {
        "by_stage": by_stage,
        "by_reason": by_reason,
        "fields": fields[0] if fields and fields[0] else {},
        "held_back": [
            {"stage": stage, "status": status, "reason": reason, "rows": number}
            for stage, status, reason, number in rows
            if reason and status in _HELD_BACK
        ],
    }
    execute(
        connection,
        "audit_close_run",
        {
            "run_key": result.run_key,
            "state": state,
            "figures": json.dumps(figures),
            **{str(status): number for status, number in result.counts.items()},
        },
    )


def _listed(counts: Mapping[Status, int]) -> str:
    return ", ".join(f"{number} {status}" for status, number in counts.items())
