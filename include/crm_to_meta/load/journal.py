"""The journal of a load: each request is written down before it is sent, and again when its outcome is known.

Every method is one committed transaction, so a worker that is killed between two of them leaves a true record.
"""

from __future__ import annotations

import uuid
import zlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from crm_to_meta.errors import CredentialsError, RateLimitedError, RunTakenOverError
from crm_to_meta.load.resume import Part, PastRequest
from crm_to_meta.meta.answers import SUBCODE_TOO_OLD, Answer
from crm_to_meta.meta.limits import META_DEDUPLICATION_WINDOW
from crm_to_meta.models import Mode, Reason, RequestOutcome, Shard, Status
from crm_to_meta.warehouse import Connection, execute, one_row

if TYPE_CHECKING:
    from datetime import datetime

    from crm_to_meta.load.isolation import Refusal, Suspect


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """An answer that was written down: when, by the warehouse's clock, and the status that its events got from it."""

    at: datetime
    status: Status | None


class Journal:
    """Writes down what a shard's load does, for one run."""

    def __init__(self, connection: Connection, shard: Shard, *, pipeline: str, mode: Mode, lease: timedelta) -> None:
        self._connection = connection
        self._shard = shard
        self._pipeline = pipeline
        self.is_live = mode is Mode.LIVE
        self._mode = mode
        self._lease = lease
        self._holder = uuid.uuid4()  # of this try: what an earlier one still does is refused

    def open_run(self, *, clears_stop: bool) -> None:
        """Take up the run's work: go on, or open a run again that had ended.

        Chunks whose transitions another run holds by now are set aside; what an earlier try of this task left without
        an answer is in doubt from here on.

        Args:
            clears_stop: somebody fixed what stopped the run, and cleared the task.

        Raises:
            CredentialsError: another shard just stopped the run.
        """
        scope = {**self._run(), "pipeline": self._pipeline, "shard_no": self._shard.shard_no}
        execute(self._connection, "load/commit_durably")
        with self._connection.transaction():
            execute(self._connection, "ledger/lock_pipeline", {"pipeline": self._pipeline})
            state, stop_reason = one_row(execute(self._connection, "load/find_run", scope))
            if state == "running" and stop_reason and not clears_stop:
                raise CredentialsError(f"Run {self._shard.run_key} was stopped by another shard: {stop_reason}.")
            execute(self._connection, "load/open_run", {**scope, "lease": self._lease, "clears_stop": clears_stop})
            execute(self._connection, "load/hold_chunks", {**scope, "holder": self._holder})
            unanswered = {"run_keys": [self._shard.run_key], "shard_no": self._shard.shard_no}
            execute(self._connection, "ledger/record_doubts", unanswered)
            if self.is_live and state != "running":  # of a running run nobody takes transitions
                execute(self._connection, "load/set_aside_chunks", scope)

    def list_chunks(self) -> dict[int, int]:
        """Return the numbers of the shard's chunks that are not finished, in order, with how many events they have."""
        scope = {**self._run(), "shard_no": self._shard.shard_no}
        return dict(execute(self._connection, "load/list_chunks", scope).fetchall())

    def read_chunk(self, chunk_no: int) -> bytes:
        """Return the body of a chunk, unpacked."""
        (body,) = one_row(execute(self._connection, "load/read_chunk", self._chunk(chunk_no)))
        return zlib.decompress(body)

    def finished_events(self, chunk_no: int) -> set[int]:
        """Return the events of a live chunk that the ledger no longer lets this run send.

        They are settled, another run's, or in doubt for longer than Meta de-duplicates.
        """
        if not self.is_live:
            return set()
        scope = {**self._chunk(chunk_no), "deduplication_window": META_DEDUPLICATION_WINDOW}
        return {int(place) for (place,) in execute(self._connection, "load/list_finished", scope)}

    def past_requests(self, chunk_no: int) -> list[PastRequest]:
        """Return the chunk's requests on record, oldest first."""
        rows = execute(self._connection, "load/list_requests", self._chunk(chunk_no))
        return [
            PastRequest(
                part=Part(start, end, without_lead_id=without), outcome=RequestOutcome(outcome), subcode=subcode
            )
            for start, end, without, outcome, subcode in rows
        ]

    def begin_request(self, chunk_no: int, part: Part, *, attempt: int) -> int:
        """Write down that a request is about to be sent, renew the lease, and return the request's id.

        Raises:
            RunTakenOverError: the run is not ours any more; nothing may be sent.
            CredentialsError: another shard has stopped the run.
            RateLimitedError: Meta asked for a pause that is not over.
        """
        request = {"part_start": part.start, "part_end": part.end, "without_lead_id": part.without_lead_id}
        sender = {"pipeline": self._pipeline, "holder": self._holder, "lease": self._lease}
        row = execute(
            self._connection,
            "load/begin_request",
            {**self._chunk(chunk_no), **request, **sender, "attempt": attempt, "mode": self._mode},
        ).fetchone()
        if row is None:
            raise self._why_stopped(chunk_no)
        return int(row[0])

    def end_request(
        self,
        request_id: int,
        chunk_no: int,
        part: Part,
        answer: Answer,
        *,
        outcome: RequestOutcome,
        status: Status | None,
    ) -> Recorded:
        """Write down the answer and what becomes of the events, in one transaction.

        Args:
            request_id: what `begin_request` returned.
            chunk_no: the chunk the request is about.
            part: its events in the request.
            answer: Meta's answer.
            outcome: what it means for the request.
            status: what the events get from it: delivered, in_doubt or rejected; None where they stay as they are.

        Raises:
            RunTakenOverError: somebody took this worker for dead and put the request in doubt; there it stays.
        """
        ended = {
            "request_id": request_id,
            "outcome": outcome,
            "duration_ms": answer.duration_ms,
            "http_status": answer.http_status,
            "error_code": answer.code,
            "error_subcode": answer.subcode,
            "fbtrace_id": answer.fbtrace_id,
            "events_received": answer.events_received,
        }
        with self._connection.transaction():
            row = execute(self._connection, "load/end_request", ended).fetchone()
            if row is None:
                raise RunTakenOverError(
                    f"Run {self._shard.run_key}: another run or try took this one for dead while a request was under "
                    "way, and goes on with its events. Nothing to do; see capi.request."
                )
            if status is Status.REJECTED:
                status = self._reject(chunk_no, part, (answer.code, answer.subcode), answer.fbtrace_id)
            elif status is Status.IN_DOUBT:
                self._settle(chunk_no, part, status, Reason.OUTCOME_UNKNOWN, answer.fbtrace_id)
            elif status is Status.DELIVERED:
                reason = Reason.SENT_WITHOUT_LEAD_ID if part.without_lead_id else None
                self._settle(chunk_no, part, status, reason, answer.fbtrace_id)
        return Recorded(at=row[0], status=status)

    def confirm_rejection(self, chunk_no: int, suspect: Suspect) -> Status:
        """Write down that an event that was refused alone is rejected; return the status it got.

        Raises:
            RunTakenOverError: this try does not hold the chunk any more.
        """
        scope = {**self._chunk(chunk_no), "holder": self._holder, "request_id": suspect.request_id}
        with self._connection.transaction():
            if not execute(self._connection, "load/confirm_rejection", scope).rowcount:
                raise self._why_stopped(chunk_no)
            return self._reject(chunk_no, suspect.part, suspect.refusal, suspect.fbtrace_id)

    def find_witness(self) -> datetime | None:
        """Return when the last request of this run that Meta took was sent, by any shard; None where it took none."""
        moment: datetime | None = one_row(execute(self._connection, "load/find_witness", self._run()))[0]
        return moment

    def expire(self, chunk_no: int, part: Part) -> None:
        """Write down that events became too old before they could be sent."""
        self._settle(chunk_no, part, Status.EXPIRED, Reason.EVENT_TOO_OLD)

    def finish_chunk(self, chunk_no: int) -> None:
        """Nothing of the chunk is left to send."""
        execute(self._connection, "load/finish_chunk", self._chunk(chunk_no))

    def stop_run(self, reason: str) -> None:
        """Make all shards of the run stop before their next request."""
        execute(self._connection, "load/stop_run", {**self._run(), "stop_reason": reason})

    def pause_run(self, seconds: float) -> None:
        """Keep the pipeline's runs from sending for a while."""
        execute(self._connection, "load/pause_run", {**self._run(), "pause": timedelta(seconds=seconds)})

    def renew_lease(self) -> None:
        """Say that this run is alive, while it waits."""
        execute(self._connection, "load/renew_lease", {**self._run(), "lease": self._lease})

    def _reject(self, chunk_no: int, part: Part, refusal: Refusal, fbtrace_id: str | None) -> Status:
        """Settle an event that Meta refuses. One that Meta finds too old is expired, unless it may have arrived."""
        code, subcode = refusal
        is_too_old = subcode == SUBCODE_TOO_OLD and self.is_live
        if is_too_old and self._settle(chunk_no, part, Status.EXPIRED, Reason.EVENT_TOO_OLD, fbtrace_id):
            return Status.EXPIRED
        self._settle(chunk_no, part, Status.REJECTED, f"meta_{subcode or code or 0}", fbtrace_id)
        return Status.REJECTED

    def _settle(
        self, chunk_no: int, part: Part, status: Status, reason: str | None, fbtrace_id: str | None = None
    ) -> int:
        """Settle events in the ledger, or count them on the chunk, since test runs leave it alone; return how many."""
        scope: dict[str, Any] = {**self._chunk(chunk_no), "status": status}
        if not self.is_live:
            return execute(self._connection, "load/count_chunk", {**scope, "events": part.size}).rowcount
        outcome = {"part_start": part.start, "part_end": part.end, "reason": reason, "fbtrace_id": fbtrace_id}
        return execute(self._connection, "load/settle_events", {**scope, **outcome}).rowcount

    def _why_stopped(self, chunk_no: int) -> RunTakenOverError | CredentialsError | RateLimitedError:
        state, stop_reason = one_row(execute(self._connection, "load/find_run", self._run()))
        if state == "running" and stop_reason:
            return CredentialsError(f"Run {self._shard.run_key} was stopped by another shard: {stop_reason}.")
        scope = {**self._chunk(chunk_no), "pipeline": self._pipeline, "holder": self._holder}
        (pause_s,) = one_row(execute(self._connection, "load/find_pause", scope))
        if state == "running" and pause_s:
            return RateLimitedError(
                f"Meta asked for a pause, of which {pause_s:.0f} s are left; everything unsent stays pending.",
                retry_after_s=pause_s,
            )
        return RunTakenOverError(
            f"Run {self._shard.run_key} is {state}: this try was taken for dead, and a later try or another run "
            "finishes its transitions. Nothing to do; see capi.run."
        )

    def _run(self) -> dict[str, Any]:
        return {"run_key": self._shard.run_key}

    def _chunk(self, chunk_no: int) -> dict[str, Any]:
        return {"run_key": self._shard.run_key, "chunk_no": chunk_no}
