"""A run never ends well, and never has nothing to do, while other runs have unfinished events of its window."""

from __future__ import annotations

import contextlib
import io
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from crm_to_meta.audit.elsewhere import Elsewhere, Situation, describe_elsewhere
from crm_to_meta.errors import DeliveryIncompleteError, HeldElsewhereError, LawBrokenError, MetaUnavailableError
from crm_to_meta.ledger.doubts import Decision, settle_doubts
from crm_to_meta.models import Mode
from crm_to_meta.report import render_report
from crm_to_meta_demo.summary import print_summary

if TYPE_CHECKING:
    from daily_run import Company, Day

EVENTS = 10


@pytest.fixture(autouse=True)
def _all_rows_are_sound(company: Company) -> None:
    company.judges_rows = False


def elsewhere(company: Company, run_key: str) -> list[tuple[str, str, int]]:
    """Return what the record of a run says of events elsewhere: run, situation, number."""
    found = company.run_row(run_key)["figures"]["elsewhere"]
    return [(one["run_key"], one["situation"], one["events"]) for one in found]


def read(kept: list[dict[str, Any]]) -> list[Elsewhere]:
    """Read what the figures keep."""
    return [Elsewhere.from_json(one) for one in kept]


def summary(company: Company, run_key: str) -> str:
    """Return what `make run` prints about a run."""
    console = Console(file=io.StringIO(), width=200)
    print_summary(console, company.warehouse, run_key)
    return console.file.getvalue()  # type: ignore[attr-defined]


def begin_another(company: Company) -> Day:
    """Record ten events and let a run hold them that has not sent them yet."""
    company.record_sound(EVENTS)
    return company.prepare(company.facts("another"))


def leave_in_doubt(company: Company) -> str:
    """Send ten events without ever getting an answer, and close the run; return its key."""
    day = begin_another(company)
    company.stand_in.set_faults([{"kind": "reset_after", "when": {"to_request": 3}}])
    with contextlib.suppress(MetaUnavailableError):  # which a load raises where it may send them again
        company.load(day.shards[0])
    with pytest.raises(DeliveryIncompleteError):
        company.audit(day.run_key)
    company.stand_in.clear_faults()
    return day.run_key


def test_events_of_a_run_at_work_are_waited_for(company: Company) -> None:
    """Audit asks to be tried again while another run is at work on the window, and is green once that has finished."""
    another = begin_another(company)
    own = company.run_day()
    (error,) = own.errors
    first = company.run_row(own.run_key)
    company.load(another.shards[0])
    company.audit(another.run_key)
    again = company.audit(own.run_key)

    assert isinstance(error, HeldElsewhereError)
    assert f"10 stage changes of this window are held by run {another.run_key} until" in str(error)
    assert (first["state"], first["figures"]["elsewhere"][0]["situation"]) == ("failed", "at_work")
    assert datetime.fromisoformat(first["figures"]["elsewhere"][0]["lease_until"]) > first["finished_at"]
    assert again.elsewhere == []
    assert company.run_row(own.run_key)["state"] == "succeeded"
    assert company.run_row(own.run_key)["figures"]["elsewhere"] == []
    assert "Nothing to do" in summary(company, own.run_key)


@pytest.mark.parametrize(
    ("age", "shortest_s", "longest_s"),
    [(timedelta(0), 15, 600), (timedelta(minutes=5), 300, 600), (timedelta(hours=5), 480, 600)],
    ids=["at first", "later", "at last"],
)
def test_wait_grows_up_to_the_lease(company: Company, age: timedelta, shortest_s: int, longest_s: int) -> None:
    """The wait is as long as the run is old, at least 15 s, and ends when the other run has to show a sign of life."""
    another = begin_another(company)
    own = company.extract()
    company.warehouse.execute(
        "UPDATE capi.run SET started_at = now() - %s, lease_until = now() + interval '10 minutes'", [age]
    )

    with pytest.raises(HeldElsewhereError, match=another.run_key) as raised:
        company.audit(own.run_key)

    assert shortest_s <= (raised.value.retry_after_s or 0) <= longest_s


def test_events_of_a_dead_run_are_told_and_taken_over(company: Company) -> None:
    """Where that run's lease is over nobody waits for it: the run fails, and clearing it from extract sends them."""
    another = begin_another(company)
    own = company.extract(company.facts("daily"))
    company.end_lease(another.run_key)

    with pytest.raises(DeliveryIncompleteError) as raised:
        company.audit(own.run_key)
    state = company.run_row(own.run_key)["state"]
    cleared = company.run_day(company.facts("daily"))

    assert f"held by run {another.run_key}, without a sign of life" in str(raised.value)
    assert "Clear this run from `extract`" in str(raised.value)
    assert (state, elsewhere(company, own.run_key)) == ("failed", [(another.run_key, "silent", EVENTS)])
    assert (cleared.errors, company.statuses()) == ([], {"delivered": EVENTS})


def test_events_that_another_run_left_are_told_and_taken_over(company: Company) -> None:
    """Another run was at work when this one extracted, and then ended without sending: clearing this run sends them."""
    another = begin_another(company)
    own = company.extract(company.facts("daily"))
    company.audit_anyhow(another.run_key)

    with pytest.raises(DeliveryIncompleteError, match=f"left unfinished by run {another.run_key}"):
        company.audit(own.run_key)
    cleared = company.run_day(company.facts("daily"))

    assert elsewhere(company, own.run_key) == [(another.run_key, "left", EVENTS)]
    assert (cleared.errors, company.statuses()) == ([], {"delivered": EVENTS})


@pytest.mark.parametrize("policy", ["hold", "resend"])
def test_events_that_wait_for_a_person_fail_each_run(company: Company, policy: str) -> None:
    """Doubts under `hold`, and those older than 48 hours, keep every run over their days red until they are settled."""
    company.configure(delivery={"on_in_doubt": policy})
    another = leave_in_doubt(company)
    if policy == "resend":
        company.warehouse.execute("UPDATE capi.delivery SET doubted_at = doubted_at - interval '72 hours'")
    before = len(company.received())
    own = company.run_day()
    (oldest,) = company.select("SELECT min(event_time) AS moment FROM capi.delivery")
    settle_doubts(company.warehouse, pipeline=company.pipeline.name, decision=Decision.ARRIVED, decided_by="ana")
    after = company.run_day()

    assert own.error_types == [DeliveryIncompleteError]
    assert "10 stage changes of this window are in doubt" in str(own.errors[0])
    assert "`python -m crm_to_meta_cli doubts`" in str(own.errors[0])
    assert f"until {oldest['moment'] + company.pipeline.delivery.max_event_age:%Y-%m-%d %H:%M} UTC" in str(
        own.errors[0]
    )
    assert elsewhere(company, own.run_key) == [(another, "undecided", EVENTS)]
    assert len(company.received()) == before
    assert after.errors == []


def test_young_doubts_are_sent_again_and_not_waited_for(company: Company) -> None:
    """Under `resend` the next run takes doubts of the last 48 hours itself: nothing is left elsewhere."""
    leave_in_doubt(company)
    own = company.run_day()

    assert own.errors == []
    assert company.statuses() == {"delivered": EVENTS}


def test_own_failure_and_events_elsewhere_are_told_together(company: Company) -> None:
    """A run that leaves events of its own fails for good, and says what is elsewhere, too."""
    another = begin_another(company)
    company.record_sound(3)
    own = company.extract()

    with pytest.raises(DeliveryIncompleteError) as raised:
        company.audit(own.run_key)

    assert "3 events are pending and 0 in doubt" in str(raised.value)
    assert f"held by run {another.run_key}" in str(raised.value)


@pytest.mark.parametrize("mode", [Mode.PREVIEW, Mode.TEST])
def test_preview_and_test_say_what_is_elsewhere(company: Company, mode: Mode) -> None:
    """They hold nothing, so they do not fail for it; they do not call it nothing either."""
    another = begin_another(company)
    trial = company.run_day(company.facts(mode=mode), test_event_code="TEST1" if mode is Mode.TEST else None)

    assert trial.errors == []
    assert elsewhere(company, trial.run_key) == [(another.run_key, "at_work", EVENTS)]
    assert company.run_row(trial.run_key)["state"] == "succeeded"
    assert "Nothing to do" not in summary(company, trial.run_key)


def test_preview_counts_what_it_shows_once(company: Company) -> None:
    """What an earlier run left is in the preview itself, and not elsewhere."""
    another = begin_another(company)
    company.audit_anyhow(another.run_key)
    trial = company.run_day(company.facts(mode=Mode.PREVIEW))

    assert company.run_row(trial.run_key)["pending"] == EVENTS
    assert elsewhere(company, trial.run_key) == []


def test_other_days_and_other_pipelines_are_not_waited_for(company: Company) -> None:
    """Only events of the run's own window and pipeline count."""
    begin_another(company)
    earlier = company.facts(start=company.midnight - timedelta(days=4), end=company.midnight - timedelta(days=3))
    of_other_days = company.run_day(earlier)
    company.configure(name="second_brand")
    of_other_pipeline = company.run_day()

    assert (of_other_days.errors, of_other_pipeline.errors) == ([], [])


def test_erased_person_keeps_no_run_red(company: Company) -> None:
    """An event in doubt whose person was erased can be neither settled nor sent: no run waits for it."""
    leave_in_doubt(company)
    company.configure(delivery={"on_in_doubt": "hold"})
    company.warehouse.execute("UPDATE capi.delivery SET erased_at = now(), event_time = NULL, lead_id = NULL")

    assert company.run_day().errors == []


def test_events_without_a_time_count_for_sweeps(company: Company) -> None:
    """A row without a time is in no window but a sweep's: that is the run it keeps from ending well."""
    company.record(company.transition(event_time=None))
    another = company.extract(company.facts("another"))
    sweep = company.run_day()
    of_a_day = company.run_day(company.facts(days=1, is_sweep=False))

    assert sweep.error_types == [HeldElsewhereError]
    assert elsewhere(company, sweep.run_key) == [(another.run_key, "at_work", 1)]
    assert of_a_day.errors == []


# Where it is shown ----------------------------------------------------------------------------------------------------


def test_report_says_what_is_elsewhere(company: Company) -> None:
    """The page's first sentence and a notice tell of it, and do not call it a defect."""
    another = leave_in_doubt(company)
    company.configure(delivery={"on_in_doubt": "hold"})
    idle = company.run_day()
    company.record_sound(2)
    busy = company.run_day()
    page, busy_page = (render_report(company.warehouse, day.run_key) for day in (idle, busy))

    assert "could be sent: 10 stage changes are with other runs." in page
    assert f"10 stage changes of this window are in doubt: run {another} sent them" in page
    assert "A check failed" not in page + busy_page
    assert "Nothing was new" not in page
    assert "reached Meta; 10 more are unfinished with other runs." in busy_page


def test_report_tells_a_broken_law_beside_events_elsewhere(company: Company) -> None:
    """Events elsewhere do not hide that ledger and requests are at odds."""
    leave_in_doubt(company)
    company.configure(delivery={"on_in_doubt": "hold"})
    company.record_sound(2)
    own = company.prepare()
    company.load(own.shards[0])
    company.warehouse.execute("UPDATE capi.request SET outcome = 'not_processed' WHERE run_key = %s", [own.run_key])
    with pytest.raises(LawBrokenError, match="Please report this"):
        company.audit(own.run_key)

    assert "The audit found that the ledger and the requests differ." in render_report(company.warehouse, own.run_key)


def test_summary_says_what_is_elsewhere(company: Company) -> None:
    """`make run` says how many are where and what to do, beside the run's own figures or alone."""
    another = leave_in_doubt(company)
    company.configure(delivery={"on_in_doubt": "hold"})
    idle = company.run_day()
    company.record_sound(2)
    busy = company.run_day()

    for day, own_part in ((idle, "No stage change of this window was free to be sent."), (busy, "requests to Meta")):
        text = summary(company, day.run_key)
        assert own_part in text
        assert f"10 stage changes of this window are in doubt: run {another} sent them" in text
        assert "Nothing to do" not in text


def test_run_that_was_not_closed_is_not_called_idle(company: Company) -> None:
    """A run without rows whose audit did not come about has not found that there is nothing to do."""
    company.record_sound(1)
    run_key = company.extract(company.facts(days=1, end=company.midnight - timedelta(days=30))).run_key

    assert "Nothing to do" not in summary(company, run_key)


def test_many_runs_are_told_in_one_sentence(company: Company) -> None:
    """Of many runs three are named and the others counted; one event is one."""
    for number in range(5):
        company.record_sound(1)
        company.prepare(company.facts(f"another-{number}"))
    own = company.extract()
    with pytest.raises(HeldElsewhereError):
        company.audit(own.run_key)
    found: list[Any] = company.run_row(own.run_key)["figures"]["elsewhere"]
    keys = [one["run_key"] for one in found]

    (five,) = describe_elsewhere(read(found))
    (one,) = describe_elsewhere(read(found[:1]))

    assert five.startswith(
        f"5 stage changes of this window are held by the runs {', '.join(keys[:3])} and 2 more until"
    )
    assert one.startswith(f"1 stage change of this window is held by run {keys[0]} until")


def test_every_situation_has_words(company: Company) -> None:
    """Whatever SQL calls a situation, there is a sentence for it."""
    begin_another(company)
    own = company.extract()
    with pytest.raises(HeldElsewhereError):
        company.audit(own.run_key)
    (kept,) = company.run_row(own.run_key)["figures"]["elsewhere"]

    for situation in Situation:
        (sentence,) = describe_elsewhere(read([{**kept, "situation": situation}]))
        assert kept["run_key"] in sentence
