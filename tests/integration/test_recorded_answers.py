"""Each answer that somebody got from Meta, given to a load: the events end as it turned out to mean."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from crm_to_meta.errors import CredentialsError, CrmToMetaError, MetaUnavailableError, RateLimitedError

if TYPE_CHECKING:
    from daily_run import Company

VECTORS = Path(__file__).resolve().parents[2].parent / "shared" / "vectors" / "meta_errors.json"

# Effects: what ends the load, what the first request's outcome is, and what becomes of the event that it was about.
Effect = tuple[type[CrmToMetaError] | None, str, tuple[str, str | None]]
DELIVERED: Final = ("delivered", None)
PENDING: Final = ("pending", None)
TRIED_AGAIN: Effect = (None, "not_processed", DELIVERED)
STOPPED: Effect = (CredentialsError, "stopped", PENDING)
LIMITED: Effect = (RateLimitedError, "rate_limited", PENDING)
EXPECTED: Final[dict[str, Effect]] = {
    "transient_false_but_heals": TRIED_AGAIN,
    "reduce_data_1": TRIED_AGAIN,
    "empty_body_500": (None, "in_doubt", DELIVERED),
    "event_too_old_es": (None, "payload_refused", ("expired", "event_too_old")),
    "event_too_old_en": (None, "payload_refused", ("expired", "event_too_old")),
    "unexpected_key": (None, "payload_refused", ("rejected", "meta_100")),
    "lead_id_invalid_it": (None, "payload_refused", ("delivered", "sent_without_lead_id")),
    "object_missing_or_no_permission": STOPPED,
    "limit_4_429": LIMITED,
    "user_limit_17_400": LIMITED,
    "custom_limit_613": LIMITED,
    "temporarily_blocked_341": LIMITED,
    "ok_zero_received": (None, "in_doubt", DELIVERED),
    "permission_10": STOPPED,
    "token_460_doc_sample": STOPPED,
    "permissions_200": STOPPED,
    "ok_live": (None, "in_doubt", DELIVERED),  # one event received, of ten that were sent
    "unknown_412": (MetaUnavailableError, "not_processed", PENDING),
}
ABOUT_AN_EVENT = ("payload_refused",)


def read_vectors() -> list[Any]:
    """Return the recorded answers, each under its name."""
    vectors = json.loads(VECTORS.read_text(encoding="utf-8")) if VECTORS.exists() else []
    return [pytest.param(vector, id=vector["name"]) for vector in vectors]


@pytest.mark.skipif(not VECTORS.exists(), reason=f"the vectors are not part of the repository: {VECTORS}")
def test_each_recorded_answer_has_its_effect() -> None:
    """Neither is an answer left out, nor an effect."""
    assert {param.values[0]["name"] for param in read_vectors()} == EXPECTED.keys()


@pytest.mark.sweep(keep=6)
@pytest.mark.skipif(not VECTORS.exists(), reason=f"the vectors are not part of the repository: {VECTORS}")
@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("vector", read_vectors())
def test_recorded_answer_has_its_effect(company: Company, vector: dict[str, Any], concurrency: int) -> None:
    """An answer about an event is given whenever that event is in a request, any other to the first request alone."""
    error, outcome, fate = EXPECTED[vector["name"]]
    company.judges_rows = False
    company.configure(delivery={"concurrency": concurrency})
    ids = company.record_sound(10)
    (shard,) = company.prepare().shards
    lead_id = company.ledger()[ids[6]]["lead_id"]
    when = {"lead_id": lead_id} if outcome in ABOUT_AN_EVENT else {"nth": 1}
    company.stand_in.set_faults([fault_of(vector, when)])
    raised: CrmToMetaError | None = None
    try:
        company.load(shard)
    except CrmToMetaError as stopped:
        raised = stopped
    ledger = company.ledger()
    others = Counter(row["status"] for event_id, row in ledger.items() if event_id != ids[6])

    assert (type(raised) if raised else None) is error
    assert company.requests()[0]["outcome"] == outcome
    assert (ledger[ids[6]]["status"], ledger[ids[6]]["reason"]) == fate
    assert others == {("pending" if error else "delivered"): 9}
    assert not any(row["status"] == "rejected" for row in ledger.values()) or fate[0] == "rejected"
    assert {row["doubts"] for row in ledger.values()} == {1 if outcome == "in_doubt" else 0}
    assert company.requests()[0]["fbtrace_id"] == trace_of(vector)


def fault_of(vector: dict[str, Any], when: dict[str, Any]) -> dict[str, Any]:
    """Return the fault that gives the recorded answer."""
    if isinstance(vector["body"], str):
        return {"kind": "status", "status": vector["http_status"], "body": vector["body"], "when": when}
    return {"kind": "answer", "status": vector["http_status"], "json": vector["body"], "when": when}


def trace_of(vector: dict[str, Any]) -> str | None:
    """Return the trace id of a recorded answer."""
    body = vector["body"] if isinstance(vector["body"], dict) else {}
    trace: str | None = body.get("error", body).get("fbtrace_id")
    return trace
