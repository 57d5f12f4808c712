"""Rules about the batch: each fails for what it is about, and its severity decides what follows."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from crm_to_meta.errors import BatchRefusedError, DeliveryIncompleteError
from crm_to_meta.models import BatchReason, Mode

if TYPE_CHECKING:
    from daily_run import Company, Row

JUDGED = 20  # quality.min_rows_to_judge
NEVER_JUDGED = {
    "rows_unexpected": "not judged: 0 past runs on record",
    "rows_late": "not judged: the first run of this pipeline",
    "stages_new": "not judged: no run of this pipeline has gone through yet",
}


def run_before(company: Company, *, days_ago: int = 1, rows: int = 100, **columns: Any) -> None:
    """Write down a scheduled run that went well, as audit would have."""
    end = company.midnight - timedelta(days=days_ago)
    row = {
        "run_key": f"past-{days_ago}", "pipeline": company.pipeline.name, "mode": "live", "run_type": "scheduled",
        "dag_run_id": f"past-{days_ago}", "pass_no": 1, "window_start": end - timedelta(days=8), "window_end": end,
        "is_sweep": True, "configuration_digest": company.pipeline.digest, "state": "succeeded", "lease_until": end,
        "quality_verdict": "passed", "staged": rows, "extracted": rows, "started_at": end, "finished_at": end,
        "figures": '{"by_stage": {"new": {"delivered": 1}}}', **columns,
    }  # fmt: skip
    names, places = ", ".join(row), ", ".join(f"%({name})s" for name in row)
    company.warehouse.execute(f"INSERT INTO capi.run ({names}) VALUES ({places})", row)  # type: ignore[arg-type] # our own names


def batch_rules_of(company: Company, run_key: str) -> dict[str, Row]:
    """Return the rules about the batch by their reason."""
    rows = company.select("SELECT * FROM capi.quality ORDER BY position")
    return {row["reason"]: row for row in rows if row["reason"] in set(BatchReason) and row["run_key"] == run_key}


def broken(company: Company, run_key: str) -> dict[str, str]:
    """Return what was observed where a rule about the batch was broken."""
    return {name: row["observed"] for name, row in batch_rules_of(company, run_key).items() if not row["success"]}


def few_rows(company: Company) -> None:
    """A tenth of what the last four weeks had."""
    for week in (7, 14, 21):
        run_before(company, days_ago=week, rows=300)
    company.record_sound(30, phone="+12025550143")


def many_rows(company: Company) -> None:
    """Six times what the last four weeks had, which were below what is judged."""
    for week in (1, 7, 14, 21):
        run_before(company, days_ago=week, rows=20)
    company.record_sound(120)


def no_rows(company: Company) -> None:
    """The export is empty."""
    for week in (7, 14, 21):
        run_before(company, days_ago=week, rows=300)
    company.record()


def no_lead_ids(company: Company) -> None:
    """The column was lost; some blanks are left."""
    company.record_sound(15, lead_id=None)
    company.record_sound(5, lead_id="")


def no_emails(company: Company) -> None:
    """The same for email addresses."""
    company.record_sound(10, email="")
    company.record_sound(9)
    company.record_sound(1, email=None)


def no_phones(company: Company) -> None:
    """The same for phone numbers."""
    company.record_sound(JUDGED)


def late_rows(company: Company) -> None:
    """11 of 20 rows are three days old."""
    run_before(company)
    company.record_sound(9)
    company.record_sound(11, event_time=company.midnight - timedelta(days=3))


def new_stage(company: Company) -> None:
    """A stage that is neither in the map nor in an earlier run."""
    run_before(company)
    company.record(company.transition(stage="demo booked"), company.transition())


def stale_rows(company: Company) -> None:
    """The newest row is four days old, but for one that is dated in the future."""
    company.record_sound(JUDGED, event_time=company.midnight - timedelta(days=4))
    company.record(company.transition(event_time=company.now + timedelta(days=300)))


CASES = {
    "rows_unexpected": ("rows", few_rows, "30 rows"),
    "rows_unexpected, too many": ("rows", many_rows, "120 rows"),
    "rows_unexpected, none": ("rows", no_rows, "0 rows"),
    "lead_ids_few": ("lead_ids", no_lead_ids, "0.0% of the rows"),
    "emails_few": ("emails", no_emails, "45.0% of the rows"),
    "phones_few": ("phones", no_phones, "0.0% of the rows"),
    "rows_late": ("late_rows", late_rows, "55.0% of the rows"),
    "stages_new": ("new_stages", new_stage, "50.0% of the rows"),
    "rows_stale": ("freshness", stale_rows, "the newest is 96 hours old"),
}


@pytest.mark.sweep(keep=2)
@pytest.mark.parametrize(
    ("name", "severity"),
    [*((name, "critical") for name in CASES), *(("emails_few", severity) for severity in ("warning", "info", "off"))],
)
def test_severity_decides_what_a_broken_rule_does(company: Company, name: str, severity: str) -> None:
    """Critical stops before anything is sent, a warning is reported, info is counted, off is not there."""
    section, spoil, observed = CASES[name]
    reason = name.partition(",")[0]
    company.configure(quality={section: {"severity": severity}})
    spoil(company)
    day = company.run_day()
    result = company.run_row(day.run_key)["quality_verdict"]

    if severity == "off":
        assert reason not in batch_rules_of(company, day.run_key)
        return
    assert broken(company, day.run_key)[reason] == observed
    if severity == "critical":
        assert BatchRefusedError in day.error_types
        assert f"calls critical: {reason} (" in str(day.errors[0])
        assert "fix the source" in str(day.errors[0])
        assert company.received() == []
        assert result == "failed"
        assert set(company.statuses()) <= {"pending"}
    else:
        assert not [error for error in day.error_types if error is not DeliveryIncompleteError]
        assert day.validation is not None
        assert (reason in day.validation.warnings) == (severity == "warning")
        assert result != "failed"


def test_a_batch_that_was_stopped_goes_out_when_the_rule_is_eased(company: Company) -> None:
    """Nothing is lost by a stop: the next run takes the rows, judged by the file as it is then."""
    company.configure(quality={"phones": {"severity": "critical"}})
    ids = company.record_sound(JUDGED)
    stopped = company.run_day()
    company.configure(quality={"phones": {"severity": "info"}})
    eased = company.run_day()

    assert stopped.error_types == [BatchRefusedError, DeliveryIncompleteError]
    assert eased.errors == []
    assert sorted(company.received_ids()) == sorted(ids)


def test_a_first_run_judges_nothing_by_the_past(company: Company) -> None:
    """Eight days of history at once, in stages that nobody has met, are no fault of a first run; why is on record."""
    company.record_sound(30, event_time=company.midnight - timedelta(days=5))
    company.record_sound(30, stage="demo booked")
    day = company.run_day()
    found = batch_rules_of(company, day.run_key)

    assert day.errors == []
    assert {name: found[name]["observed"].split(":")[0] for name in NEVER_JUDGED} == dict.fromkeys(
        NEVER_JUDGED, "not judged"
    )
    assert all(found[name]["observed"].startswith(why) for name, why in NEVER_JUDGED.items())
    assert all(row["checked"] == 0 and row["success"] for name, row in found.items() if name in NEVER_JUDGED)


@pytest.mark.parametrize("mode", [Mode.LIVE, Mode.PREVIEW], ids=["refused", "preview"])
def test_a_stage_is_not_known_from_a_run_that_sent_nothing(company: Company, mode: Mode) -> None:
    """A stage that stopped a run stops the next one too, and a preview makes no stage known; the stage map does."""
    company.configure(quality={"new_stages": {"severity": "critical"}}, unmapped_stages="skip")
    run_before(company)
    company.record(company.transition(stage="demo booked"), company.transition())
    first, second = company.run_day(company.facts(mode=mode)), company.run_day()
    company.configure(stages={**company.pipeline.stages, "demo booked": "Demo"})
    named = company.run_day()

    assert "stages_new" in str(first.errors[0])
    assert "stages_new" in str(second.errors[0])
    assert named.errors == []
    assert company.statuses() == {"delivered": 2}


def test_a_stage_is_known_once_it_went_through(company: Company) -> None:
    """A warning about a new stage is given once: the run that gave it has met the stage."""
    company.configure(unmapped_stages="skip")
    run_before(company)
    warnings = []
    for _ in range(2):
        company.record(company.transition(stage="demo booked"))
        warnings.append("stages_new" in broken(company, company.run_day().run_key))

    assert warnings == [True, False]


def test_a_quiet_sunday_is_none_to_worry_about(company: Company) -> None:
    """A few rows on a day that always has a few, and none of the rules has a word to say."""
    for days in range(1, 29):
        run_before(company, days_ago=days, rows=20 if days % 7 == 0 else 4_000)
    company.record_sound(9)
    day = company.run_day()

    assert day.errors == []
    assert broken(company, day.run_key) == {}


def test_rows_that_piled_up_are_not_called_late(company: Company) -> None:
    """After a run that failed its rows come with the next one: that is no lateness of the source."""
    run_before(company, state="failed")
    company.record_sound(30, event_time=company.midnight - timedelta(days=3))
    day = company.run_day()
    found = batch_rules_of(company, day.run_key)["rows_late"]

    assert found["success"]
    assert found["observed"] == "not judged: the run before left rows over, or had other settings"


def test_a_backfill_is_not_judged_by_volume_or_freshness(company: Company) -> None:
    """A day picked by hand may have any number of rows, all of them old."""
    for week in (7, 14, 21):
        run_before(company, days_ago=week, rows=300)
    end = company.midnight - timedelta(days=4)
    company.record_sound(25, event_time=end - timedelta(hours=1))
    company.configure(quality={name: {"severity": "critical"} for name in ("rows", "late_rows", "freshness")})
    day = company.run_day(company.facts(start=end - timedelta(days=1), end=end, is_sweep=False))

    assert day.errors == []
    assert broken(company, day.run_key).keys() == {"phones_few"}


def test_a_second_run_of_a_day_finds_nothing_odd_in_finding_nothing(company: Company) -> None:
    """What the first run has sent is no loss of the second."""
    company.configure(quality={name: {"severity": "critical"} for name in ("rows", "freshness", "emails", "lead_ids")})
    company.record_sound(30)
    first, second = company.run_day(), company.run_day()

    assert (first.errors, second.errors) == ([], [])


@pytest.mark.parametrize("mode", [Mode.PREVIEW, Mode.TEST])
def test_other_modes_are_judged_but_for_the_number_of_rows(company: Company, mode: Mode) -> None:
    """A preview shows what a live run would say of the rows; how many there are says nothing."""
    for week in (7, 14, 21):
        run_before(company, days_ago=week, rows=10_000)
    company.configure(quality={"emails": {"severity": "critical"}})
    company.record_sound(JUDGED, email=None)
    day = company.run_day(company.facts(mode=mode), test_event_code="TEST1")

    assert day.error_types[0] is BatchRefusedError
    assert "emails_few" in str(day.errors[0])
    assert "rows_unexpected" not in str(day.errors[0])
    assert company.received() == []


def test_unmapped_stages_may_stop_the_run(company: Company) -> None:
    """`unmapped_stages: fail` lets no stage by that nobody has named, and keeps everything pending."""
    company.configure(unmapped_stages="fail")
    company.record(company.transition(stage="demo booked"), company.transition())
    stopped = company.run_day()
    company.configure(stages={**company.pipeline.stages, "demo booked": "Demo"})
    fixed = company.run_day()

    assert stopped.error_types == [BatchRefusedError, DeliveryIncompleteError]
    assert "stage_unmapped" in str(stopped.errors[0])
    assert "1 rows break it" in str(stopped.errors[0])
    assert fixed.errors == []
    assert company.statuses() == {"delivered": 2}
