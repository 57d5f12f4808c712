"""The errors that a load ends with, in words: what happened, how many events are where, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crm_to_meta.errors import AllRefusedError, CredentialsError, MetaUnavailableError, RateLimitedError
from crm_to_meta.meta.pacing import blocked_s
from crm_to_meta.reasons import explain_answer, explain_refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from crm_to_meta.load.chunk_in_flight import ChunkInFlight
    from crm_to_meta.meta.answers import Answer


def describe_stop(answer: Answer) -> CredentialsError:
    """Return the error of a token, permission, dataset or API version that Meta refuses."""
    return CredentialsError(f"{explain_answer(answer)} No event is at fault; all that is unsent stays pending.")


def describe_rate_limit(answer: Answer) -> RateLimitedError:
    """Return the error of a pause that Meta asks for."""
    wait_s = blocked_s(answer)
    return RateLimitedError(
        f"Meta limits the rate of this app ({answer.name}); everything unsent stays pending for {wait_s:.0f} s.",
        retry_after_s=wait_s,
    )


def describe_last_attempt(answer: Answer, *, chunk_no: int, attempts: int) -> MetaUnavailableError:
    """Return the error of a chunk that Meta did not take in all attempts of a task."""
    return MetaUnavailableError(
        f"Meta did not take chunk {chunk_no} in {attempts} attempts ({answer.words}); what is unsent stays pending. "
        "The next try goes on from here.",
        retry_after_s=answer.retry_after_s,
    )


def describe_unclear(run_key: str, chunk_nos: Collection[int]) -> MetaUnavailableError:
    """Return the error of chunks with events to which Meta gave no clear answer."""
    return MetaUnavailableError(
        f"Run {run_key}: {len(chunk_nos)} chunks (first: {min(chunk_nos)}) have events without a clear answer of "
        "Meta's; they stay pending or in doubt. See capi.request for status, code and fbtrace_id."
    )


def describe_used_up(run_key: str, chunks: Sequence[ChunkInFlight], *, requests: int) -> AllRefusedError:
    """Return the error of chunks that were put aside and gone on with, until a try's requests for that were used up."""
    return AllRefusedError(
        f"Run {run_key}: Meta refuses events of {_name_chunks(chunks)} alike: {explain_refusal(*chunks[0].refusal)} It "
        f"took others, so these are searched one by one; this try used up its {requests} requests for that, and "
        f"{_count_open(chunks)} events stay pending. Clear this task to go on, or let the next run."
    )


def describe_put_aside(run_key: str, chunks: Sequence[ChunkInFlight]) -> AllRefusedError:
    """Return the error of chunks of which Meta refused what was tried, and took nothing afterwards."""
    suspects = sum(chunk.suspects for chunk in chunks)
    return AllRefusedError(
        f"Run {run_key}: Meta refused {suspects} events of {_name_chunks(chunks)}, each alone and alike: "
        f"{explain_refusal(*chunks[0].refusal)} It took nothing of this run that was sent after them, so they may not "
        f"be at fault one by one: none of them is rejected, and {_count_open(chunks)} events stay pending. Fix what "
        "they have in common, if anything, and clear this task; otherwise the next run decides, once Meta takes others "
        "after them. See capi.request for the fbtrace_id."
    )


def _name_chunks(chunks: Sequence[ChunkInFlight]) -> str:
    return f"{len(chunks)} chunks (first: {chunks[0].chunk_no})"


def _count_open(chunks: Sequence[ChunkInFlight]) -> int:
    return sum(chunk.open_events for chunk in chunks)
