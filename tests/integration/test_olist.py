"""A real funnel, day after day: Olist's leads and sellers as a CRM, seven daily runs, and proof of what Meta got.

The rows come into the CRM as time goes by, each run happens an hour after its day ended, and Meta's clock shows the
same hour: nothing is younger or older than it would really be. Real are the times, gaps and proportions; identifiers
are made up from the lead's id, since the data has none. All dates are moved by the same number of whole weeks.
"""

from __future__ import annotations

import csv
import hashlib
import uuid
from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from daily_run import CRM_NAME, Company, assert_conserved, assert_ledger_matches_meta

if TYPE_CHECKING:
    from daily_run import Day, Row

OLIST = Path(__file__).resolve().parents[3] / "shared" / "data" / "olist"
DAYS = 7
RUN_DELAY = timedelta(hours=1)
LIMIT = timedelta(days=7) - timedelta(hours=1)  # Meta's seven days less the pipeline's margin
LOOKBACK = timedelta(days=8)
EVENT_NAMES = {"lead": "Lead", "won": "Converted"}

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(
        not OLIST.is_dir(),
        reason="the Olist funnel (CC BY-NC-SA 4.0) is not part of the project; see ../shared/data/olist",
    ),
]


def read_csv(name: str) -> list[dict[str, str]]:
    """Return the rows of one of Olist's files."""
    with (OLIST / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def digest(text: str) -> bytes:
    """Return the digest that identifiers are made from."""
    return hashlib.sha256(text.encode()).digest()


def read_funnel() -> list[Row]:
    """Return all transitions of the funnel at their real times, as the CRM's rows."""
    leads = {lead["mql_id"]: lead["first_contact_date"] for lead in read_csv("marketing_qualified_leads.csv")}
    stages = [(mql_id, "lead", first_contact) for mql_id, first_contact in leads.items()]
    stages += [(deal["mql_id"], "won", deal["won_date"]) for deal in read_csv("closed_deals.csv")]
    return [
        {
            "transition_id": f"{mql_id}-{stage}",
            "lead_id": str(10**15 + int.from_bytes(digest(mql_id)[:8]) % (9 * 10**15)),
            "stage": stage,
            "event_time": datetime.fromisoformat(at).replace(tzinfo=UTC),
            "lead_created_at": datetime.fromisoformat(leads[mql_id]).replace(tzinfo=UTC),
            "email": f"{mql_id}@example.com",
            "phone": f"+1202555{digest(mql_id)[9] * 39 % 10_000:04d}" if digest(mql_id)[8] % 2 else None,
        }
        for mql_id, stage, at in stages
    ]


def move_to(rows: list[Row], end: datetime) -> list[Row]:
    """Move all times by the number of whole weeks that puts the most transitions into the seven days before `end`."""
    times = sorted(row["event_time"] for row in rows)

    def held(weeks: int) -> int:
        return bisect_left(times, end - timedelta(weeks=weeks)) - bisect_left(times, end - timedelta(weeks=weeks + 1))

    weeks = max(range((end - times[-1]).days // 7, (end - times[0]).days // 7 + 1), key=held)
    shift = timedelta(weeks=weeks)
    return [
        {**row, "event_time": row["event_time"] + shift, "lead_created_at": row["lead_created_at"] + shift}
        for row in rows
    ]


def expected_event(row: Row) -> dict[str, Any]:
    """Return what Meta should get for a row, made from the documentation and not by the code under test."""
    identity = f"conversion_leads\x1f{row['transition_id']}"
    hashed = {"em": row["email"], "ph": row["phone"] and row["phone"].lstrip("+")}
    return {
        "event_name": EVENT_NAMES[row["stage"]],
        "event_time": int(row["event_time"].timestamp()),
        "event_id": str(uuid.UUID(bytes=digest(identity)[:16])),
        "action_source": "system_generated",
        "custom_data": {"event_source": "crm", "lead_event_source": CRM_NAME},
        "user_data": {
            "lead_id": int(row["lead_id"]),
            **{field: [digest(text).hex()] for field, text in hashed.items() if text},
        },
    }


def run_week(company: Company, rows: list[Row]) -> list[Day]:
    """Let seven days pass: each brings its rows into the CRM, and its run an hour after midnight."""
    end = company.midnight
    company.move_clock(end - timedelta(days=DAYS - 1) + RUN_DELAY - company.now)
    company.record()
    days, recorded_until = [], datetime.min.replace(tzinfo=UTC)
    for _ in range(DAYS):
        company.record(*(row for row in rows if recorded_until <= row["event_time"] < company.midnight))
        recorded_until = company.midnight
        days.append(company.run_day())
        company.move_clock(timedelta(days=1))
    return days


def expected_outcome(row: Row, first_run: datetime) -> tuple[str, str | None] | None:
    """Return status and reason that a row should have at the end; None where no window reached back to it."""
    if row["event_time"] < first_run - RUN_DELAY - LOOKBACK:
        return None
    if row["event_time"] < first_run - LIMIT:  # every later row has its first run within a day
        return "expired", "event_too_old"
    if row["event_time"] < row["lead_created_at"]:
        return "quarantined", "event_before_lead"
    return "delivered", None


def test_week_of_a_real_funnel_arrives_field_for_field(company: Company) -> None:
    """Every transition ends in exactly one status, and what Meta received is what the rows say, each event once."""
    end = company.midnight
    first_run = end - timedelta(days=DAYS - 1) + RUN_DELAY
    rows = [row for row in move_to(read_funnel(), end) if row["event_time"] < end]
    company.configure(stages=EVENT_NAMES, delivery={"chunk_size": 100})
    days = run_week(company, rows)
    expected = {row["transition_id"]: outcome for row in rows if (outcome := expected_outcome(row, first_run))}
    delivered = [row for row in rows if expected.get(row["transition_id"]) == ("delivered", None)]
    received = sorted(company.received(), key=lambda event: event["event_id"])

    assert [day.errors for day in days] == [[]] * DAYS
    assert company.outcomes() == expected
    assert received == sorted(map(expected_event, delivered), key=lambda event: event["event_id"])
    assert company.stand_in.stats()["duplicate_event_ids"] == 0
    assert len(delivered) > 300
    for day in days:
        assert_conserved(company, day.run_key)
    assert_ledger_matches_meta(company)
