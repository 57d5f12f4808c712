"""Retention: what is old goes, what is needed stays, and nothing is sent again for it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from psycopg import sql

from crm_to_meta.errors import LawBrokenError
from crm_to_meta.ledger.retention import MAX_RUNS_AT_ONCE, clear_old_records

if TYPE_CHECKING:
    from daily_run import Company


@pytest.fixture(autouse=True)
def _all_rows_are_sound(company: Company) -> None:
    company.judges_rows = False


def age_runs(company: Company, days: int) -> None:
    """Let all runs be older by so many days."""
    company.warehouse.execute(
        "UPDATE capi.run SET started_at = started_at - make_interval(days => %(days)s), "
        "finished_at = finished_at - make_interval(days => %(days)s)",
        {"days": days},
    )


def count(company: Company, table: str) -> int:
    """Return the number of rows of one of this project's tables."""
    (row,) = company.select("SELECT count(*) AS rows FROM {}", sql.Identifier("capi", table))
    return int(row["rows"])


def test_bodies_go_after_the_retention_days(company: Company) -> None:
    """A request body is there for retention_days and not longer; what became of its events stays on record."""
    company.configure(retention_days=30)
    company.record_sound(20)
    run_key = company.run_day().run_key
    age_runs(company, 29)
    early = clear_old_records(company.warehouse, company.pipeline, now=company.now)
    age_runs(company, 2)
    late = clear_old_records(company.warehouse, company.pipeline, now=company.now)

    assert (early.bodies, late.bodies) == (0, 2)
    assert [row["body"] for row in company.select("SELECT body FROM capi.chunk")] == [None, None]
    assert company.statuses() == {"delivered": 20}
    assert company.audit(run_key).is_conserved


def test_run_and_its_ledger_go_after_the_ledger_days(company: Company) -> None:
    """Of a run that is older than ledger_days nothing is left, in no table."""
    company.configure(ledger_days=60)
    company.record_sound(20)
    run_key = company.run_day().run_key
    age_runs(company, 61)

    cleared = clear_old_records(company.warehouse, company.pipeline, now=company.now)

    assert (cleared.runs, cleared.transitions) == (1, 20)
    assert [count(company, table) for table in ("run", "delivery", "request", "chunk", "shard", "quality")] == [0] * 6
    with pytest.raises(LawBrokenError, match=r"is not in capi\.run"):
        company.audit(run_key)


def test_forgotten_transition_is_too_old_to_be_sent_again(company: Company) -> None:
    """A backfill of days that the ledger has forgotten finds them expired: nothing goes out twice."""
    company.judges_rows = True
    company.configure(ledger_days=60)
    company.record_sound(20)
    company.run_day()
    first_day = company.midnight
    company.move_clock(timedelta(days=61))
    age_runs(company, 61)
    clear_old_records(company.warehouse, company.pipeline, now=company.now)

    company.run_day(company.facts(end=first_day, start=first_day - timedelta(days=1), is_sweep=False))

    assert company.statuses() == {"expired": 20}
    assert len(company.received()) == 20


def test_what_is_still_to_be_sent_is_not_forgotten(company: Company) -> None:
    """A run with pending events stays, however old, until a later run has put them on record."""
    company.configure(ledger_days=60)
    company.record_sound(20)
    run_key = company.prepare().run_key
    company.end_lease(run_key)
    company.extract(company.facts(end=company.midnight - timedelta(days=30)))  # gives the dead run up
    age_runs(company, 61)

    clear_old_records(company.warehouse, company.pipeline, now=company.now)

    assert company.statuses() == {"pending": 20}
    assert company.run_row(run_key)["state"] == "abandoned"


def test_other_pipelines_and_runs_at_work_are_left_alone(company: Company) -> None:
    """Each pipeline's settings are about its own runs, and none is cleared away while it works."""
    company.configure(ledger_days=60)
    company.record_sound(10)
    at_work = company.prepare().run_key
    age_runs(company, 100)
    mine = clear_old_records(company.warehouse, company.pipeline, now=company.now)
    company.run_day(company.facts("next"))
    company.warehouse.execute("UPDATE capi.run SET pipeline = 'another', state = 'succeeded', finished_at = started_at")
    others = clear_old_records(company.warehouse, company.pipeline, now=company.now)

    assert (mine.runs, mine.bodies, others.runs, others.bodies) == (0, 0, 0, 0)
    assert company.run_row(at_work)["pipeline"] == "another"


def test_years_of_runs_go_bit_by_bit(company: Company) -> None:
    """The first clearing after a long time does not hold up the run it is part of."""
    company.configure(ledger_days=60)
    company.record_sound(1)
    for _ in range(MAX_RUNS_AT_ONCE + 1):
        company.run_day()
    age_runs(company, 61)

    first, second = (clear_old_records(company.warehouse, company.pipeline, now=company.now) for _ in range(2))

    assert (first.runs, second.runs) == (MAX_RUNS_AT_ONCE, 1)


def test_cleared_load_leaves_a_chunk_without_its_body_to_the_next_run(company: Company) -> None:
    """Where a body is gone, a load that is cleared sends nothing of it and says nothing wrong."""
    company.record_sound(10)
    (shard,) = company.prepare().shards
    company.warehouse.execute("UPDATE capi.chunk SET body = NULL")

    result = company.load(shard)

    assert result.requests == 0
    assert company.statuses() == {"pending": 10}
