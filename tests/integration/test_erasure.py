"""Erasure: nothing that points to the person is left, the counts stay right, and nothing is sent again."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import pytest
from psycopg import sql

from crm_to_meta.errors import ConfigurationError
from crm_to_meta.ledger.erasure import erase_requested, request_erasure
from crm_to_meta.models import Mode, Status

if TYPE_CHECKING:
    from daily_run import Company

LEAD_ID = "1234567890123456"
EMAIL = "forget.me@example.com"


@pytest.fixture(autouse=True)
def _all_rows_are_sound(company: Company) -> None:
    company.judges_rows = False


def everything_kept(company: Company) -> str:
    """Return all rows of all tables of the schema capi as text, request bodies unpacked."""
    tables = company.select("SELECT tablename FROM pg_tables WHERE schemaname = 'capi'")
    rows = [
        str({name: zlib.decompress(value) if name == "body" and value else value for name, value in row.items()})
        for entry in tables
        for row in company.select("SELECT * FROM {}", sql.Identifier("capi", entry["tablename"]))
    ]
    return "\n".join(rows)


def erase(company: Company) -> None:
    """Forget the person of these tests."""
    request_erasure(company.warehouse, LEAD_ID)
    erasures = erase_requested(company.warehouse)
    assert len(erasures.done) == 1


def record_person_among_others(company: Company) -> str:
    """Write ten rows into the CRM, one of them the person's; return the event id of that one."""
    company.record_sound(9)
    (event_id,) = company.record(company.transition(transition_id="hers", lead_id=LEAD_ID, email=EMAIL))
    return event_id


def test_nothing_points_to_the_person_any_more(company: Company) -> None:
    """Neither her lead id nor the transition's id nor her hash is in any table, nor in the request for erasure."""
    record_person_among_others(company)
    company.run_day()
    hashed = [hashed for event in company.received() for hashed in event["user_data"]["em"]]
    company.run_day(company.facts(mode=Mode.PREVIEW))
    before = everything_kept(company)
    erase(company)
    after = everything_kept(company)

    traces = [LEAD_ID, "'hers'", *hashed]
    assert [trace for trace in traces if trace not in before] == []
    assert [trace for trace in traces if trace in after] == []


def test_requests_of_a_night_are_each_their_own(company: Company) -> None:
    """The ledger is read once for all of them; who asks twice finds nothing left at the second time."""
    record_person_among_others(company)
    company.record(company.transition(lead_id=LEAD_ID), company.transition(lead_id="1234567890123457"))
    company.run_day()
    for lead_id in (LEAD_ID, "1234567890123457", LEAD_ID, "1234567890123458"):
        request_erasure(company.warehouse, lead_id)
    erasures = erase_requested(company.warehouse)

    assert [erasure.transitions for erasure in erasures.done] == [2, 1, 0, 0]
    assert [erasure.bodies for erasure in erasures.done] == [2, 0, 0, 0]  # which held them all
    assert sum(row["erased_at"] is not None for row in company.ledger().values()) == 3


def test_counts_stay_right(company: Company) -> None:
    """The run that delivered the event counts it still, and its audit, repeated, adds up."""
    event_id = record_person_among_others(company)
    run_key = company.run_day().run_key
    erase(company)

    audit = company.audit(run_key)

    assert audit.counts[Status.DELIVERED] == 10
    assert company.ledger()[event_id]["status"] == "delivered"
    assert company.ledger()[event_id]["erased_at"] is not None


@pytest.mark.parametrize("changes", [{}, {"stage": "won"}], ids=["as it was", "edited"])
def test_erased_transition_is_never_taken_again(company: Company, changes: dict[str, str]) -> None:
    """Where the CRM still has the row, even an edited one, no run takes it."""
    event_id = record_person_among_others(company)
    company.run_day()
    erase(company)
    company.warehouse.execute("UPDATE capi.delivery SET status = 'quarantined', reason = 'stage_unmapped'")
    for column, value in changes.items():
        company.warehouse.execute(
            sql.SQL("UPDATE crm.lead_stage_transitions SET {} = %s").format(sql.Identifier(column)), [value]
        )

    company.extract()

    row = company.ledger()[event_id]
    assert (row["status"], row["lead_id"], row["transition_id"]) == ("quarantined", None, None)


def test_event_that_was_still_to_be_sent_is_not(company: Company) -> None:
    """A pending event of the person is skipped as erased; the others of its request go out with the next run."""
    event_id = record_person_among_others(company)
    day = company.prepare()
    company.end_lease(day.run_key)
    erase(company)

    assert company.load(day.shards[0]).requests == 0
    company.end_lease(day.run_key)
    company.run_day()

    assert company.statuses() == {"delivered": 9, "skipped": 1}
    assert company.outcomes()[None] == ("skipped", "erased")
    assert event_id not in company.received_ids()


def test_event_in_doubt_stays_a_doubt_that_nobody_resends(company: Company) -> None:
    """Whether Meta has an erased event stays unknown: it is neither sent again nor called something it is not."""
    record_person_among_others(company)
    day = company.prepare()
    company.warehouse.execute(
        "UPDATE capi.delivery SET status = 'in_doubt', reason = 'outcome_unknown', doubted_at = now()"
    )
    company.end_lease(day.run_key)
    erase(company)

    extraction = company.extract()

    assert extraction.staged == 9
    assert [row["status"] for row in company.ledger().values() if row["erased_at"]] == ["in_doubt"]


def test_raw_rows_of_a_dead_run_go_at_once(company: Company) -> None:
    """A worker that died left a copy of raw rows; an erasure does not wait for the next run to drop it."""
    record_person_among_others(company)
    run_key = company.extract().run_key
    company.end_lease(run_key)
    assert EMAIL in everything_kept(company)
    erase(company)

    assert EMAIL not in everything_kept(company)
    assert company.run_row(run_key)["state"] == "abandoned"


def test_erasure_waits_for_runs_at_work(company: Company) -> None:
    """A live run may have the person in memory: the request stays open, and is carried out after the run."""
    record_person_among_others(company)
    run_key = company.extract().run_key
    request_erasure(company.warehouse, LEAD_ID)

    during = erase_requested(company.warehouse)
    company.audit_anyhow(run_key)
    after = erase_requested(company.warehouse)

    assert (during.done, during.waiting, during.waits_for) == ([], 1, (run_key,))
    assert [(erasure.transitions, erasure.bodies) for erasure in after.done] == [(1, 0)]


def test_erasure_of_nobody_is_on_record_too(company: Company) -> None:
    """A lead that no table knows is a request that was carried out, over nothing."""
    request_erasure(company.warehouse, f"l:{LEAD_ID}")

    (erasure,) = erase_requested(company.warehouse).done

    (row,) = company.select("SELECT * FROM capi.erasure")
    assert (erasure.transitions, erasure.bodies) == (0, 0)
    assert (row["lead_id"], row["transitions"]) == (None, 0)
    assert row["done_at"] is not None


@pytest.mark.parametrize("text", ["", "12345", "1" * 18, "0123456789012345", "1234567890123456.0", "a@example.com"])
def test_what_is_no_lead_id_is_refused(company: Company, text: str) -> None:
    """Something else than a lead id is not put on record, nor repeated in the message."""
    with pytest.raises(ConfigurationError) as refusal:
        request_erasure(company.warehouse, text)

    assert not text or text not in str(refusal.value)
    assert company.select("SELECT * FROM capi.erasure") == []
