"""The overview of a pipeline says what its tables say: the last days, what is open across runs, how fresh Meta is."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from crm_to_meta.ledger.doubts import Decision, settle_doubts
from crm_to_meta.models import Mode, Status
from crm_to_meta.report.open_doubts import find_doubts
from crm_to_meta.report.overview import Overview, read_overview
from crm_to_meta.report.pages import PipelineCard, render_overview
from crm_to_meta.report.problems import Problem, Schedule, find_problems

if TYPE_CHECKING:
    from daily_run import Company

SCHEDULED = Schedule(is_paused=False, next_run_at=None)
PAUSED = Schedule(is_paused=True, next_run_at=None)
LOSE_THE_ANSWER = [{"kind": "reset_after"}]


def overview_of(company: Company) -> Overview:
    """Read the overview at the company's present time."""
    overview = read_overview(company.warehouse, company.pipeline, now=company.now)
    assert overview is not None
    return overview


def problems_of(company: Company, schedule: Schedule | None = SCHEDULED) -> dict[str, Problem]:
    """Return what is open, by key."""
    return {problem.key: problem for problem in find_problems(overview_of(company), schedule)}


def set_clock_of_runs(company: Company) -> None:
    """Let the runs on record have ended at the company's time, which is ahead of or behind the database's."""
    company.warehouse.execute("UPDATE capi.run SET finished_at = %s WHERE finished_at IS NOT NULL", [company.now])


def page_of(company: Company, schedule: Schedule | None = SCHEDULED) -> str:
    """Render the overview."""
    card = PipelineCard(
        name=company.pipeline.name,
        dag_id=company.pipeline.dag_id,
        overview=overview_of(company),
        schedule=schedule,
        may_decide=True,
    )
    return render_overview([card], root="/root", place="overview")


def test_good_days_leave_nothing_open(company: Company) -> None:
    """After a good run its day shows what was delivered, and the freshness is that of the newest event."""
    company.record_sound(25)

    day = company.run_day()
    set_clock_of_runs(company)
    overview = overview_of(company)

    (newest,) = company.select("SELECT max(event_time) AS moment FROM capi.delivery")
    assert day.errors == []
    assert len(overview.days) == 30
    assert [(shown.last_state, shown.counts[Status.DELIVERED]) for shown in overview.days if shown.runs] == [
        ("succeeded", 25)
    ]
    assert overview.newest_event_at == newest["moment"]
    assert overview.latest is not None
    assert "All 25 stage changes" in overview.latest.headline
    assert problems_of(company) == {}
    assert "nothing open" in page_of(company)


def test_stopped_run_is_open_until_a_good_one_makes_up_for_it(company: Company) -> None:
    """A wrong token is one problem with its remedy, however many runs it failed; a good daily run ends it."""
    company.record_sound(5)
    good, company.token = company.token, "wrong"
    company.run_day()
    company.run_day()
    stopped = problems_of(company)
    company.token = good
    company.run_day()

    (key,) = [key for key in stopped if key.startswith("stopped-auth_190")]
    assert len(stopped[key].runs) == 2
    assert stopped[key].weight == "act"
    assert "token" in stopped[key].text.lower()
    assert stopped["waiting"].title == "5 events wait to be sent"
    assert not [key for key in problems_of(company) if key.startswith(("stopped", "waiting"))]


def test_failed_backfill_is_not_made_up_for_by_a_daily_run_that_reaches_less_far(company: Company) -> None:
    """A good run of the days after it leaves a failed run of an old day open; a run of that day ends it."""
    company.record_sound(5)
    good, company.token = company.token, "wrong"
    window = {"start": company.midnight - timedelta(days=6), "end": company.midnight - timedelta(days=5)}
    old_day = company.facts("old", **window)
    company.record(company.transition(event_time=company.midnight - timedelta(days=5, hours=12)))
    company.run_day(old_day)
    company.token = good
    company.run_day(company.facts("newer", days=2))
    before = [run.dag_run_id for problem in problems_of(company).values() for run in problem.runs]
    company.run_day(old_day)

    assert before == ["old"]
    assert not [problem for problem in problems_of(company).values() if problem.runs]


def test_run_that_recorded_nothing_is_told(company: Company) -> None:
    """What only Airflow knows, a run that failed before extract had recorded it, is open; a run on record is not."""
    company.record_sound(2)
    company.run_day(company.facts("on record"))

    found = {
        run_id: problems_of(company, Schedule(is_paused=False, next_run_at=None, failed_run_id=run_id))
        for run_id in ("on record", "unknown")
    }

    assert "unrecorded" not in found["on record"]
    assert found["unknown"]["unrecorded"].airflow_run_id == "unknown"
    assert "`extract`" in found["unknown"]["unrecorded"].text


def test_silent_run_is_told(company: Company) -> None:
    """A run whose lease ended without a word is told, with when it was due."""
    company.record_sound(5)
    company.extract()
    company.warehouse.execute("UPDATE capi.run SET lease_until = %s", [company.now - timedelta(minutes=5)])

    assert problems_of(company)["silent"].title == "1 run gives no sign of life"


@pytest.mark.parametrize(
    ("days_later", "key", "words"),
    [(0, "waiting", "unpause it"), (5, "unreached", "`lookback_hours`"), (9, "too-old", "cannot be recovered")],
    ids=["within the lookback", "beyond the lookback", "too old"],
)
def test_what_waits_is_told_with_what_to_do(company: Company, days_later: int, key: str, words: str) -> None:
    """Events that no run works on: which the next run sends, which no run looks back to, and which are too late."""
    company.configure(lookback_hours=48)
    company.record_sound(5)
    company.token = "wrong"
    company.run_day()
    company.move_clock(timedelta(days=days_later))

    problem = problems_of(company, PAUSED)[key]

    assert problem.title.startswith("5 events")
    assert words in problem.text


def test_rows_that_can_still_be_sent_are_told_by_reason(company: Company) -> None:
    """Held-back rows are told with meaning and remedy while Meta would still take them, and not any more after that."""
    company.record(company.transition(), company.transition(stage="never heard of"))
    company.run_day()

    before = problems_of(company)
    company.move_clock(timedelta(days=8))

    (part,) = before["held-back"].parts
    assert before["held-back"].title == "1 stage change was held back"
    assert (part.code, part.rows) == ("stage_unmapped", 1)
    assert "`stages`" in part.text
    assert "held-back" not in problems_of(company)


def test_pipeline_without_a_recent_upload_is_told(company: Company) -> None:
    """Meta wants an upload a day: two days without a good run are a problem."""
    company.record_sound(1)
    company.run_day()
    set_clock_of_runs(company)
    company.move_clock(timedelta(days=2))

    assert problems_of(company, PAUSED)["stale"].title == "No run has succeeded for 2 days"
    assert "unpause" in problems_of(company, PAUSED)["stale"].text


def leave_in_doubt(company: Company) -> None:
    """Send five events without ever getting an answer."""
    company.record_sound(5)
    company.stand_in.set_faults(LOSE_THE_ANSWER)
    company.run_day()
    company.stand_in.clear_faults()


def test_doubt_is_listed_with_its_deadline(company: Company) -> None:
    """Under `hold` a doubt waits for a person until its oldest event is too old; once settled it is a decision."""
    company.configure(delivery={"on_in_doubt": "hold"})
    leave_in_doubt(company)

    (doubt,) = find_doubts(overview_of(company))
    page = page_of(company)
    settle_doubts(company.warehouse, pipeline=company.pipeline.name, decision=Decision.ARRIVED, decided_by="ana")
    after = overview_of(company)

    assert doubt.events == 5
    assert doubt.deadline
    assert doubt.fate == "No run sends them again until you decide."
    assert f'action="/root/dags/{company.pipeline.dag_id}/doubts/{doubt.run_key}/arrived?place=overview"' in page
    assert doubt.waits
    assert find_doubts(after) == []
    assert after.open_runs == []
    assert [(one.decided_by, one.events) for one in after.decisions] == [("ana", 5)]
    assert [day.counts[Status.DELIVERED] for day in after.days if day.runs] == [5]


def test_doubt_that_is_sent_again_by_itself_says_so(company: Company) -> None:
    """Under `resend` nobody has to decide for 48 hours."""
    leave_in_doubt(company)

    (doubt,) = find_doubts(overview_of(company))

    assert "You need not decide" in doubt.fate
    assert not doubt.waits
    assert [run.state for run in overview_of(company).open_runs] == ["failed"]


def test_warehouse_without_a_run_has_no_overview(company: Company) -> None:
    """Neither an empty warehouse nor one in which other pipelines work is an error."""
    before = overview_of(company)
    company.warehouse.execute("DROP SCHEMA capi CASCADE")

    assert (before.latest, before.preview, before.newest_event_at) == (None, None, None)
    assert read_overview(company.warehouse, company.pipeline, now=company.now) is None
    assert problems_of_nothing(before) == []


def problems_of_nothing(overview: Overview) -> list[Problem]:
    """Return what is open where nothing ever ran."""
    return find_problems(overview, SCHEDULED)


def test_pipeline_with_previews_alone_shows_the_newest(company: Company) -> None:
    """Before the first live run the newest preview is what there is to see; it is in no day's counts."""
    company.record_sound(3)
    company.run_day(company.facts(mode=Mode.PREVIEW))

    overview = overview_of(company)

    assert overview.latest is None
    assert overview.preview is not None
    assert "No live run yet" in page_of(company)
    assert sum(day.runs for day in overview.days) == 0
