"""What is decided after a load: by the clock, by a person, by whoever fixes a connection and clears a task."""

from __future__ import annotations

import functools
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import sql

from crm_to_meta.errors import CredentialsError, DeliveryIncompleteError, MetaUnavailableError
from crm_to_meta.extract.step import extract
from crm_to_meta.ledger.doubts import Decision, list_decisions, list_doubts, settle_doubts
from crm_to_meta.load.step import load
from crm_to_meta.models import Mode, Shard, Status, staging_table_of

if TYPE_CHECKING:
    from daily_run import Company


@pytest.fixture(autouse=True)
def _all_rows_are_sound(company: Company) -> None:
    company.judges_rows = False


def leave_in_doubt(company: Company) -> Shard:
    """Send ten events without ever getting an answer, and close the run; return the shard."""
    company.record_sound(10)
    (shard,) = company.prepare().shards
    company.stand_in.set_faults([{"kind": "reset_after", "when": {"to_request": 3}}])
    with pytest.raises(MetaUnavailableError):
        company.load(shard)
    with pytest.raises(DeliveryIncompleteError):
        company.audit(shard.run_key)
    company.stand_in.clear_faults()
    return shard


def test_doubt_that_is_too_old_is_left_to_a_person(company: Company) -> None:
    """After the 48 hours in which Meta de-duplicates neither the next run nor a cleared load sends again."""
    shard = leave_in_doubt(company)
    company.warehouse.execute("UPDATE capi.delivery SET doubted_at = doubted_at - interval '72 hours'")
    before = len(company.received())

    assert company.extract().staged == 0
    company.load(shard)

    assert len(company.received()) == before
    assert company.statuses() == {"in_doubt": 10}


def test_decision_of_a_person_stands(company: Company) -> None:
    """Events that a person set to delivered are not sent by a load that is cleared later, and its audit adds up."""
    shard = leave_in_doubt(company)
    before = len(company.received())
    settled = settle_doubts(
        company.warehouse, pipeline=company.pipeline.name, decision=Decision.ARRIVED, decided_by="ana"
    )

    company.load(shard)

    assert settled == 10
    assert len(company.received()) == before
    assert company.audit(shard.run_key).counts[Status.DELIVERED] == 10
    assert {row["reason"] for row in company.ledger().values()} == {"settled_by_hand"}


def test_doubts_are_listed_by_run(company: Company) -> None:
    """A person sees which runs have events in doubt, how many, and since when."""
    shard = leave_in_doubt(company)

    (run,) = list_doubts(company.warehouse, pipeline=company.pipeline.name) or []

    assert (run.run_key, run.events) == (shard.run_key, 10)
    assert run.oldest_event_at == min(row["event_time"] for row in company.ledger().values())
    assert list_doubts(company.warehouse, pipeline="another") == []


def test_asking_about_doubts_makes_no_schema(company: Company) -> None:
    """Neither the list nor a decision changes a warehouse in which no run has been made."""
    company.warehouse.execute("DROP SCHEMA capi CASCADE")

    listed = list_doubts(company.warehouse, pipeline=company.pipeline.name)
    settled = settle_doubts(company.warehouse, pipeline=company.pipeline.name, decision=Decision.SEND, decided_by="ana")

    assert (listed, settled) == (None, None)
    assert company.select("SELECT FROM pg_namespace WHERE nspname = 'capi'") == []


def test_events_that_did_not_arrive_go_out_with_the_next_run(company: Company) -> None:
    """Under `hold` no run touches doubts; what a person releases is sent by the next run, under the same id."""
    leave_in_doubt(company)
    company.configure(delivery={"on_in_doubt": "hold"})
    company.stand_in.reset()
    company.move_clock(timedelta())
    assert company.extract().staged == 0

    settled = settle_doubts(company.warehouse, pipeline=company.pipeline.name, decision=Decision.SEND, decided_by="ana")
    day = company.run_day()

    assert settled == 10
    assert day.errors == []
    assert sorted(company.received_ids()) == sorted(company.ledger())
    assert company.statuses() == {"delivered": 10}
    assert {row["doubts"] > 0 for row in company.ledger().values()} == {True}


def test_decision_is_about_the_named_run_alone(company: Company) -> None:
    """Doubts of other runs, and of runs at work, stay undecided."""
    shard = leave_in_doubt(company)
    settle = functools.partial(
        settle_doubts, company.warehouse, pipeline=company.pipeline.name, decision=Decision.ARRIVED, decided_by="ana"
    )

    assert settle(run_key="another") == 0
    company.warehouse.execute("UPDATE capi.run SET state = 'running'")
    assert settle(run_key=shard.run_key) == 0
    assert company.statuses() == {"in_doubt": 10}


def test_who_decided_is_on_record(company: Company) -> None:
    """The ledger keeps for each run what was decided, about how many events, by whom and when; it goes with the run."""
    shard = leave_in_doubt(company)

    settle_doubts(company.warehouse, pipeline=company.pipeline.name, decision=Decision.ARRIVED, decided_by="a" * 300)
    (known,) = list_decisions(company.warehouse, pipeline=company.pipeline.name)
    of_another = list_decisions(company.warehouse, pipeline=company.pipeline.name, dag_run_id="another")
    company.warehouse.execute("DELETE FROM capi.run")

    assert (known.run_key, known.decision, known.events) == (shard.run_key, Decision.ARRIVED, 10)
    assert known.decided_by == "a" * 200
    assert of_another == []
    assert company.select("SELECT * FROM capi.decision") == []


def test_doubt_is_never_called_expired(company: Company) -> None:
    """An event in doubt that became too old stays in doubt: Meta may have it."""
    shard = leave_in_doubt(company)
    company.move_clock(timedelta(days=8))

    company.load(shard)

    assert company.statuses() == {"in_doubt": 10}


def test_cleared_load_goes_on_after_a_stop(company: Company) -> None:
    """Once the token is replaced, a cleared load goes on at once, though the run is not closed yet."""
    company.configure(delivery={"shard_chunks": 1})
    company.record_sound(20)
    first, second = company.prepare().shards
    good, company.token = company.token, "wrong"
    with pytest.raises(CredentialsError):
        company.load(first)
    company.token = good
    with pytest.raises(CredentialsError):
        company.load(second)

    for shard in (first, second):
        with company.client() as client:
            load(
                company.warehouse,
                company.pipeline,
                shard,
                client,
                mode=Mode.LIVE,
                clears_stop=True,
                sleep=lambda _: None,
                now=lambda: company.now,
            )

    assert company.statuses() == {"delivered": 20}


def test_statistics_hold_no_personal_value(company: Company) -> None:
    """The planner's samples of the staging table, which are written to the log, are of other columns alone."""
    company.record_sound(40)

    run_key = company.extract().run_key

    sampled = {
        row["attname"]
        for row in company.select(
            "SELECT attname FROM pg_stats WHERE schemaname = 'capi' AND tablename = {}",
            sql.Literal(staging_table_of(run_key)),
        )
    }
    assert "row_no" in sampled
    assert not sampled & {"email", "phone", "first_name", "last_name", "lead_id", "fbc", "external_id"}


def test_lease_counts_from_the_end_of_the_extraction(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that staged for longer than its lease is not taken for dead the moment it is done."""
    company.record_sound(30)
    real = extract.__globals__["_stage_rows"]
    waiting = threading.Event()
    extractions: dict[str, Any] = {}

    def outlast_the_lease(connection: Any, *arguments: Any, **settings: Any) -> int:
        rows = int(real(connection, *arguments, **settings))
        if not waiting.is_set():
            connection.execute("UPDATE capi.run SET lease_until = clock_timestamp() - interval '1 second'")
            waiting.set()
        return rows

    def run(name: str) -> None:
        with company.connect() as connection:
            extractions[name] = extract(connection, company.pipeline, company.facts(name), now=company.now)

    monkeypatch.setitem(extract.__globals__, "_stage_rows", outlast_the_lease)
    first = threading.Thread(target=run, args=["first"])
    first.start()
    assert waiting.wait(60)
    run("second")
    first.join()

    assert (extractions["first"].staged, extractions["second"].staged) == (30, 0)
    assert extractions["second"].held == 30


def test_commits_are_durable_before_anything_is_sent(company: Company) -> None:
    """Where the server waives it, load asks for commits that outlive a crash."""
    company.record_sound(10)
    (shard,) = company.prepare().shards
    company.warehouse.execute("SET synchronous_commit = off")

    company.load(shard)

    assert company.warehouse.execute("SHOW synchronous_commit").fetchone() == ("on",)
