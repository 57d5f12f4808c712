"""Audit: the figures are written down first, then whatever breaks a law raises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from daily_run import Company, Day, assert_conserved
from psycopg import sql

from crm_to_meta.errors import DeliveryIncompleteError, LawBrokenError
from crm_to_meta.models import Mode, Status, held_back_table_of, staging_table_of
from crm_to_meta.warehouse import execute

if TYPE_CHECKING:
    from crm_to_meta.audit.step import Audit
    from crm_to_meta.models import Shard
    from crm_to_meta.warehouse import Connection, Cursor

FIGURES = ("state", "extracted", "delivered", "rejected", "in_doubt", "quarantined", "expired", "skipped", "pending",
           "requests", "figures")  # fmt: skip


def mixed_day(company: Company, mode: Mode = Mode.LIVE) -> Day:
    """Run a day with rows of most fates."""
    ids = company.record(
        *(company.transition(stage=stage) for stage in ("new", "new", "won", "new")),
        company.transition(stage=None),
        company.transition(stage="odd", opted_out=True),
        company.transition(stage="won", lead_id=None, email="n/a"),
        company.transition(stage="odd"),
    )
    company.stand_in.set_settings(poisoned_event_ids={ids[0]: 2804050})
    code = "TEST1" if mode is Mode.TEST else None
    return company.run_day(company.facts(mode=mode), test_event_code=code)


def figures_of(company: Company, run_key: str) -> dict[str, object]:
    """Return what audit writes down of a run."""
    row = company.run_row(run_key)
    return {name: row[name] for name in FIGURES}


def assert_own_tables_gone(company: Company, run_key: str) -> None:
    """The run's own tables, the one with raw rows before all, are dropped."""
    names = [sql.Literal(f"capi.{name}") for name in (staging_table_of(run_key), held_back_table_of(run_key))]

    assert company.select("SELECT to_regclass({}) AS staging, to_regclass({}) AS held_back", *names) == [
        {"staging": None, "held_back": None}
    ]


def test_figures_say_what_became_of_each_stage(company: Company) -> None:
    """capi.run has the counts per status; figures has them by CRM stage, by reason, and per field of Meta's."""
    day = mixed_day(company)
    run = company.run_row(day.run_key)

    assert day.errors == []
    assert run["state"] == "succeeded"
    assert run["finished_at"] > run["started_at"]
    assert run["figures"]["by_stage"] == {
        "new": {"delivered": 2, "rejected": 1},
        "won": {"delivered": 1, "quarantined": 1},
        "odd": {"skipped": 1, "quarantined": 1},
        "(none)": {"quarantined": 1},
    }
    assert run["figures"]["by_reason"] == {
        "meta_2804050": 1, "stage_missing": 1, "opted_out": 1, "no_identifier": 1, "stage_unmapped": 1,
    }  # fmt: skip
    assert run["figures"]["fields"] == {"lead_id": {"usable": 4}, "em": {"usable": 4, "not_an_email": 1}}
    assert run["requests"] == len(company.requests(day.run_key))
    assert_conserved(company, day.run_key)


def test_figures_know_the_stages_in_their_order(company: Company) -> None:
    """The order of the pipeline file is on record with each run, with event names and the stages off the way."""
    stages = {"won": "Converted", "new": "Lead", "lost": "Lost"}
    company.configure(stages=stages, lost_stages=None)
    company.record_sound(1)
    figures = company.run_row(company.run_day().run_key)["figures"]

    assert [(kept["stage"], kept["event_name"], kept["is_lost"]) for kept in figures["stages"]] == [
        ("won", "Converted", False),
        ("new", "Lead", False),
        ("lost", "Lost", True),
    ]


def test_figures_count_each_lead_of_a_stage_once(company: Company) -> None:
    """A lead that moved to a stage twice is one lead there; rows without a lead id are counted apart."""
    twice = company.transition(lead_id=str(10**15 + 7))
    company.record(twice, {**twice, "transition_id": "again"}, company.transition(), company.transition(lead_id=None))
    company.record(company.transition(stage="won", lead_id=twice["lead_id"]), company.transition(stage=None))
    figures = company.run_row(company.run_day().run_key)["figures"]

    assert figures["leads"] == {
        "new": {"all": 2, "delivered": 2, "unknown": 1},
        "won": {"all": 1, "delivered": 1, "unknown": 0},
        "(none)": {"all": 1, "delivered": 0, "unknown": 0},
    }


@pytest.mark.parametrize("mode", list(Mode))
def test_repeated_audit_gives_the_same_figures(company: Company, mode: Mode) -> None:
    """Clearing the task `audit` changes nothing, in no mode, though the run's own tables are gone."""
    day = mixed_day(company, mode)
    first = figures_of(company, day.run_key)
    company.audit(day.run_key)

    assert day.errors == []
    assert figures_of(company, day.run_key) == first
    assert first["extracted"] == 8
    assert_own_tables_gone(company, day.run_key)


@pytest.mark.parametrize("mode", [Mode.TEST, Mode.PREVIEW])
def test_other_modes_count_without_the_ledger(company: Company, mode: Mode) -> None:
    """Test and preview runs end with each row in one status, too; what a preview would send is pending."""
    day = mixed_day(company, mode)
    run = company.run_row(day.run_key)
    sent = {"delivered": 3, "rejected": 1} if mode is Mode.TEST else {"pending": 4}

    assert {name: run[name] for name in FIGURES[2:9] if run[name]} == {**sent, "quarantined": 3, "skipped": 1}
    assert company.ledger() == {}


def test_repeated_audit_sees_what_a_later_run_took(company: Company) -> None:
    """Rows that another run has taken over count there: an earlier run's audit, repeated, still adds up."""
    company.record(*(company.transition(stage=None) for _ in range(3)), company.transition())
    first = company.run_day()
    company.warehouse.execute("UPDATE crm.lead_stage_transitions SET stage = 'new'")
    second = company.run_day()
    again = company.audit(first.run_key)

    assert second.errors == []
    assert (again.extracted, again.taken_over, again.counts[Status.DELIVERED]) == (4, 3, 1)
    assert_conserved(company, second.run_key)


TAMPERING = {
    "row deleted": "DELETE FROM capi.delivery WHERE event_id = (SELECT min(event_id::text)::uuid FROM capi.delivery)",
    "delivered without a request": "UPDATE capi.delivery SET status = 'delivered' WHERE status = 'rejected'",
    "delivery denied": "UPDATE capi.delivery SET status = 'rejected' WHERE status = 'delivered'",
    "row of another run": "UPDATE capi.delivery SET run_key = 'nobody' WHERE status = 'skipped'",
    "row that nobody extracted": """
        INSERT INTO capi.delivery (event_id, pipeline, status, run_key)
        SELECT gen_random_uuid(), pipeline, 'skipped', run_key FROM capi.delivery LIMIT 1
    """,
    "request forged": "UPDATE capi.request SET outcome = 'not_processed' WHERE outcome = 'delivered'",
}


@pytest.mark.sweep(keep=3)
@pytest.mark.parametrize("tampering", TAMPERING)
def test_ledger_that_does_not_add_up_is_never_green(company: Company, tampering: str) -> None:
    """Whoever changes the ledger behind the run's back turns its audit red, after the figures are written."""
    day = mixed_day(company)
    company.warehouse.execute(TAMPERING[tampering])

    with pytest.raises(LawBrokenError, match=day.run_key):
        company.audit(day.run_key)
    run = company.run_row(day.run_key)
    counted = company.select("SELECT count(*) AS rows FROM capi.delivery WHERE run_key = {}", sql.Literal(day.run_key))

    assert run["state"] == "failed"
    assert sum(run[name] for name in FIGURES[2:9]) == counted[0]["rows"]
    assert_own_tables_gone(company, day.run_key)


def test_unknown_run_is_told(company: Company) -> None:
    """A run that is not on record cannot be audited."""
    company.record_sound(1)
    company.extract(company.facts(mode=Mode.PREVIEW))

    with pytest.raises(LawBrokenError, match="nobody-knows-it"):
        company.audit("nobody-knows-it")


def audit_unfinished(company: Company, steps: int) -> tuple[str, DeliveryIncompleteError]:
    """Do some of the steps and audit; return the run's key and the error."""
    company.record_sound(12)
    run_key = company.extract().run_key
    shards = company.validate(run_key).shards if steps > 1 else []
    for shard in shards if steps > 2 else []:
        company.transform(shard)
    with pytest.raises(DeliveryIncompleteError) as raised:
        company.audit(run_key)
    return run_key, raised.value


@pytest.mark.parametrize("steps", [1, 2, 3], ids=["extract", "validate", "transform"])
def test_run_that_ends_early_is_never_green(company: Company, steps: int) -> None:
    """Whatever step was the last, events that are left make the run fail; its figures say so, and raw rows are gone."""
    run_key, error = audit_unfinished(company, steps)

    assert "12 events are pending and 0 in doubt" in str(error)
    assert company.run_row(run_key)["state"] == "failed"
    assert_conserved(company, run_key)
    assert_own_tables_gone(company, run_key)


def test_cleared_load_closes_a_failed_run(company: Company) -> None:
    """After a failed run, clearing `load` and what follows delivers the rest and turns the run green."""
    company.record_sound(12)
    company.stand_in.set_faults([{"kind": "answer", "json": {"error": {"code": 1}}}])
    failed = company.run_day()
    company.stand_in.clear_faults()
    state_before = company.run_row(failed.run_key)["state"]
    company.load(failed.shards[0])
    result: Audit = company.audit(failed.run_key)

    assert state_before == "failed"
    assert result.is_conserved
    assert company.run_row(failed.run_key)["state"] == "succeeded"
    assert company.statuses() == {"delivered": 12}
    assert_conserved(company, failed.run_key)


def test_interrupted_audit_leaves_the_run_open(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that dies within audit has closed nothing, and the repeated audit finds all that it needs."""
    company.record_sound(3)
    (shard,) = company.prepare().shards
    company.load(shard)

    def die(*_: object, **__: object) -> None:
        raise SystemExit(137)

    with monkeypatch.context() as patched:
        patched.setattr("crm_to_meta.audit.step._record", die)
        with pytest.raises(SystemExit):
            company.audit(shard.run_key)
    state_after_kill = company.run_row(shard.run_key)["state"]
    company.audit(shard.run_key)

    assert state_after_kill == "running"
    assert company.run_row(shard.run_key)["state"] == "succeeded"
    assert_own_tables_gone(company, shard.run_key)


def test_nothing_is_sent_once_audit_has_begun(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that wakes up while audit is at work cannot begin a request that nobody would settle any more."""
    company.record_sound(3)
    (shard,) = company.prepare().shards
    outcomes: list[str | None] = []

    def wake_up(connection: Connection, statement: str, *arguments: Any, **named: Any) -> Cursor:
        cursor = execute(connection, statement, *arguments, **named)
        if not outcomes:
            outcomes.append(begin_elsewhere(company, shard))
        return cursor

    def begin_elsewhere(company: Company, shard: Shard) -> str | None:
        with company.connect() as other:
            other.execute("SET lock_timeout = '50ms'")
            try:
                other.execute("UPDATE capi.run SET lease_until = lease_until WHERE run_key = %s", [shard.run_key])
            except psycopg.Error as error:
                return error.sqlstate
        return None

    monkeypatch.setattr("crm_to_meta.audit.step.execute", wake_up)
    with pytest.raises(DeliveryIncompleteError):
        company.audit(shard.run_key)

    assert outcomes == [psycopg.errors.LockNotAvailable.sqlstate]
