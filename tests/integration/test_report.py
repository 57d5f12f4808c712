"""The report of a run shows what the tables say, in every state, and nothing about a person."""

from __future__ import annotations

import csv
import html
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from daily_run import Company, configured
from psycopg.pq import TransactionStatus

from crm_to_meta.errors import ConfigurationError, CredentialsError
from crm_to_meta.ledger.schema import migrate
from crm_to_meta.models import Mode, Status
from crm_to_meta.report import render_report, write_reason_csv
from crm_to_meta.report.personal import HIDDEN
from crm_to_meta.report.rows import MAX_IDS
from crm_to_meta_demo.sample_crm import build_transitions, deleted_lead_ids, fill_sample_crm, personal_values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from crm_to_meta.pipeline.settings import Pipeline
    from crm_to_meta.warehouse import Connection
    from crm_to_meta_demo.embedded_postgres import EmbeddedPostgres
    from crm_to_meta_demo.meta_stand_in.testing import StandIn

LEADS = 600
TODAY = datetime(2026, 11, 22, tzinfo=UTC)  # the sample depends on the calendar; on some days Meta knows all its leads
VOID_TAGS = {"meta", "br"}
LOADING_TAGS = {
    "script",
    "link",
    "img",
    "iframe",
    "object",
    "embed",
    "base",
    "form",
    "audio",
    "video",
    "source",
    "image",
}


@dataclass(slots=True)
class Page(HTMLParser):
    """A parsed page."""

    source: str
    tags: Counter[str] = field(default_factory=Counter)
    attributes: list[tuple[str, str, str]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    open_tags: list[str] = field(default_factory=list)
    data: list[dict[str, str]] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        HTMLParser.__init__(self)
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.data.append({name.removeprefix("data-"): value or "" for name, value in attrs if name.startswith("data-")})
        if tag not in VOID_TAGS and not self.is_self_closing():
            self.open_tags.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element of SVG."""
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        """Check that it closes the element opened last."""
        if not self.open_tags or self.open_tags.pop() != tag:
            self.mistakes.append(tag)

    def handle_data(self, data: str) -> None:
        """Note a text."""
        if self.open_tags and self.open_tags[-1] != "style":
            self.texts.append(data)

    def is_self_closing(self) -> bool:
        """Say whether the current element has no end tag."""
        return (self.get_starttag_text() or "").endswith("/>")

    @property
    def text(self) -> str:
        """What a reader sees, with single spaces."""
        return " ".join("".join(self.texts).split())

    @property
    def headline(self) -> str:
        """The first sentence of the page."""
        match = re.search(r'<h1 id="headline">(.*?)</h1>', self.source, re.DOTALL)
        assert match
        return html.unescape(match[1]).replace("\u2060", "")  # which keeps a range on one line

    def counts(self, key: str, value: str = "count") -> dict[str, int]:
        """Return the numbers that elements carry, by what they are about."""
        return {data[key]: int(data[value]) for data in self.data if key in data and value in data}

    def columns(self, text: str = "[^<]*") -> int:
        """Return the number of columns in the charts that say this."""
        return len(re.findall(rf'class="column[ "][^>]*><title>[^<]*: {text}</title>', self.source))


def render(company: Company, run_key: str) -> Page:
    """Return the page of a run."""
    return Page(render_report(company.warehouse, run_key))


def insert_run(warehouse: Connection, run_key: str, **columns: Any) -> None:
    """Record a run as if it had happened."""
    migrate(warehouse)
    row = {
        "run_key": run_key,
        "pipeline": "conversion_leads",
        "mode": "live",
        "dag_run_id": run_key,
        "run_type": "scheduled",
        "pass_no": 1,
        "window_start": "2026-11-14T00:00Z",
        "window_end": "2026-11-22T00:00Z",
        "is_sweep": True,
        "configuration_digest": "0123456789abcdef",
        "state": "succeeded",
        "lease_until": "2026-11-22T00:15Z",
        "finished_at": "2030-01-01T00:00Z",
        **columns,
    }
    names, places = ", ".join(row), ", ".join(f"%({name})s" for name in row)
    warehouse.execute(f"INSERT INTO capi.run ({names}) VALUES ({places})", row)  # type: ignore[arg-type] # our own names


def insert_request(warehouse: Connection, run_key: str, **columns: Any) -> None:
    """Record a request as if it had been sent."""
    row = {
        "run_key": run_key,
        "chunk_no": 0,
        "part_start": 0,
        "part_end": 1,
        "attempt": 1,
        "mode": "live",
        "events": 1,
        "outcome": "payload_refused",
        **columns,
    }
    names, places = ", ".join(row), ", ".join(f"%({name})s" for name in row)
    warehouse.execute(f"INSERT INTO capi.request ({names}) VALUES ({places})", row)  # type: ignore[arg-type] # our own names


# The sample CRM -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sample:
    """A smaller run of `make run`: its page, and what the tables say."""

    page: Page
    run: Mapping[str, Any]
    warehouse: Connection

    def select(self, query: str) -> dict[Any, int]:
        """Return the rows of a query about the run, of two columns each."""
        return dict(self.warehouse.execute(query, [self.run["run_key"]]).fetchall())  # type: ignore[arg-type] # our own text


@pytest.fixture(scope="module")
def sample(postgres: EmbeddedPostgres, meta: StandIn) -> Iterator[Sample]:
    """A live run over the sample CRM, in which Meta does not know some of the leads."""
    from crm_to_meta.pipeline.settings import PIPELINES_FOLDER, load_pipeline

    postgres.create_database("report_sample")
    with postgres.connect("report_sample") as warehouse:
        meta.reset()
        meta.set_settings(deleted_lead_ids=deleted_lead_ids(build_transitions(TODAY.date(), leads=LEADS)))
        fill_sample_crm(warehouse, TODAY.date(), leads=LEADS)
        company = Company(
            warehouse=warehouse,
            connect=lambda: postgres.connect("report_sample"),
            stand_in=meta,
            pipeline=load_pipeline(PIPELINES_FOLDER / "conversion_leads.yaml"),
            now=TODAY + timedelta(hours=12),
        )
        day = company.run_day()
        assert day.errors == []
        yield Sample(render(company, day.run_key), company.run_row(day.run_key), warehouse)


def test_page_names_no_person(sample: Sample) -> None:
    """No personal value of the source is on the page."""
    page = html.unescape(sample.page.source)
    values = personal_values(build_transitions(TODAY.date(), leads=LEADS))

    assert len(values) > LEADS
    assert [value for value in values if value in page] == []


def test_page_holds_no_hash_and_no_lead_id(sample: Sample) -> None:
    """What Meta gets of a person is not on the page either: no SHA-256 and no lead id."""
    lead_ids = {row[0] for row in sample.warehouse.execute("SELECT lead_id::text FROM capi.delivery WHERE lead_id > 0")}

    assert lead_ids
    assert not re.search(r"\b[0-9a-f]{64}\b", sample.page.source)
    assert [lead_id for lead_id in lead_ids if lead_id in sample.page.source] == []


def test_page_loads_nothing(sample: Sample) -> None:
    """The page is complete in itself: no resource, no script, no link but to places of its own."""
    page = sample.page
    targets = {value for _, name, value in page.attributes if name in {"src", "href", "xlink:href", "srcset", "action"}}

    assert not LOADING_TAGS & set(page.tags)
    places = {f"#{value}" for _, name, value in page.attributes if name == "id"}

    assert targets
    assert targets <= places
    assert not re.search(r"https?://|@import|url\((?!#)", page.source)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]


def test_page_is_sound_html(sample: Sample) -> None:
    """Every element that is opened is closed, in the right order, and no id is used twice."""
    ids = [value for _, name, value in sample.page.attributes if name == "id"]

    assert (sample.page.mistakes, sample.page.open_tags) == ([], [])
    assert len(ids) == len(set(ids))


def test_statuses_are_those_of_the_run(sample: Sample) -> None:
    """The rows per status are those of capi.run, and add up to what was extracted."""
    counted = {str(status): sample.run[status] for status in Status if sample.run[status]}

    assert sample.page.counts("status") == {**counted, "extracted": sample.run["extracted"]}
    assert sum(counted.values()) == sample.run["extracted"]


def test_headline_says_the_numbers(sample: Sample) -> None:
    """The headline has the numbers of the run."""
    run = sample.run
    numbers = [int(text.replace(",", "")) for text in re.findall(r"\b[\d,]*\d", sample.page.headline)]

    assert numbers[:2] == [run["delivered"], run["extracted"]]
    assert {run["expired"], run["quarantined"] + run["rejected"], run["skipped"]} <= set(numbers)


def test_stages_are_those_of_the_run(sample: Sample) -> None:
    """Each CRM stage has its total, in the order of the pipeline file; what is not in it comes last."""
    totals = {stage: sum(counts.values()) for stage, counts in sample.run["figures"]["by_stage"].items()}
    shown = sample.page.counts("stage", "total")

    assert shown == {{"(none)": "no stage given"}.get(stage, stage): total for stage, total in totals.items()}
    assert list(shown) == [
        "new", "contacted", "qualified", "opportunity", "won", "lost", "duplicate - merge", "no stage given",
    ]  # fmt: skip


def test_funnel_counts_the_leads_of_the_run(sample: Sample) -> None:
    """Each stage has its leads, each counted once, and each but the first its share of the stage before."""
    leads = sample.select(
        "SELECT coalesce(stage, 'no stage given'), count(DISTINCT lead_id) FROM capi.delivery "
        "WHERE run_key = %s GROUP BY 1"
    )
    rates = {data["step"]: data["rate"] for data in sample.page.data if "rate" in data}

    assert sample.page.counts("step", "size") == leads
    assert list(rates) == ["contacted", "qualified", "opportunity", "won"]
    assert rates["qualified"] == f"{leads['qualified'] / leads['contacted']:.1%}"


def test_funnel_names_the_events(sample: Sample) -> None:
    """Beside each stage stands the event that Meta knows it by; lost and unmapped stages stand beside the funnel."""
    way, _, beside = sample.page.source.partition("Beside the way")

    assert ">qualified <small>Marketing Qualified Lead</small>" in way
    assert ">lost <small>Lost</small>" in beside
    assert ">duplicate - merge <small>not in the pipeline file</small>" in beside


def test_reasons_are_those_of_the_run(sample: Sample) -> None:
    """Each reason is on the page with its count, and those that need a look add up to the headline's number."""
    reasons = sample.page.counts("reason")
    look = {
        code: rows
        for code, rows in reasons.items()
        if code not in {"opted_out", "event_too_old", "sent_without_lead_id"}
    }

    assert reasons == sample.run["figures"]["by_reason"]
    assert sum(look.values()) == sample.run["quarantined"] + sample.run["rejected"]
    assert f"{sum(look.values())} rows need a look: {sample.run['quarantined']} quarantined and " in sample.page.text
    assert list(look.values()) == sorted(look.values(), reverse=True)


def test_fields_are_those_of_the_run(sample: Sample) -> None:
    """Each of Meta's fields is on the page with the number of usable values, the important ones first."""
    fields = sample.page.counts("field")

    assert fields == {name: counts["usable"] for name, counts in sample.run["figures"]["fields"].items()}
    assert list(fields)[:4] == ["lead_id", "fbc", "em", "ph"]


def test_rules_are_those_of_the_run(sample: Sample) -> None:
    """Each expectation is on the page with the number of rows that break it."""
    assert sample.page.counts("rule", "failed") == sample.select(
        "SELECT reason, failed FROM capi.quality WHERE run_key = %s"
    )


def test_quarantined_rows_add_up(sample: Sample) -> None:
    """What the contract and transform held back is what the run calls quarantined, skipped and expired."""
    run, page = sample.run, sample.page
    held = sum(int(data["held"]) for data in page.data if "held" in data)
    late = next(int(data["late"]) for data in page.data if "late" in data)
    contract = run["quarantined"] - late

    assert late > 0
    assert held == run["quarantined"] + run["skipped"] + run["expired"]
    assert (
        f"The contract quarantined {contract} rows, and transform {late} more, since none of their identifiers was "
        f"usable: {run['quarantined']} quarantined in all."
    ) in page.text
    assert f"{contract} of {run['staged']:,} rows" in page.text  # what the rule about quarantined rows says


def test_rows_behind_each_reason_are_listed(sample: Sample) -> None:
    """Each reason has the transition ids of its rows, as they are in the ledger."""
    listed = dict(re.findall(r'<pre class="ids"[^>]*aria-label="Transition ids, (\w+)">(.*?)</pre>',
                             sample.page.source, re.DOTALL))  # fmt: skip
    ids = {reason: set(html.unescape(text).split("\n")) for reason, text in listed.items()}
    ledger = {
        reason: set(found)
        for reason, found in sample.warehouse.execute(
            "SELECT reason, array_agg(transition_id) FROM capi.delivery WHERE run_key = %s AND reason IS NOT NULL "
            "AND transition_id IS NOT NULL GROUP BY 1",
            [sample.run["run_key"]],
        )
    }

    assert ids["lead_id_invalid"]
    assert {reason: found for reason, found in ids.items() if reason != "event_too_old"} == {
        reason: found for reason, found in ledger.items() if reason != "event_too_old"
    }
    assert ids["event_too_old"] <= ledger["event_too_old"]
    assert re.search(r"\d rows? ha(s|ve) no id\.", sample.page.text)


def test_csv_has_the_rows_behind_each_reason(sample: Sample) -> None:
    """The CSV has each row that has a reason, and nothing but ids, codes and stages."""
    lines = list(csv.reader(write_reason_csv(sample.warehouse, sample.run["run_key"])))
    by_reason = Counter(line[2] for line in lines[1:])
    text = "\n".join(write_reason_csv(sample.warehouse, sample.run["run_key"]))
    values = personal_values(build_transitions(TODAY.date(), leads=LEADS))

    assert lines[0] == ["transition_id", "status", "reason", "stage", "run_key"]
    assert by_reason == sample.run["figures"]["by_reason"]
    assert [value for value in values if value in text] == []


def test_requests_are_those_of_the_run(sample: Sample) -> None:
    """The requests by outcome are those on record."""
    counted = sample.select("SELECT outcome, count(*) FROM capi.request WHERE run_key = %s GROUP BY 1")

    assert sample.page.counts("outcome") == counted
    assert counted["payload_refused"] > 0


def test_report_changes_nothing(sample: Sample) -> None:
    """Rendering twice gives the same page but for its time, also within a transaction."""
    with sample.warehouse.transaction():
        again = render_report(sample.warehouse, sample.run["run_key"])
    made_at = re.compile(r"on \d+ \w+ \d{4}, \d\d:\d\d UTC")

    assert made_at.sub("", again) == made_at.sub("", sample.page.source)


# States and modes -----------------------------------------------------------------------------------------------------


def test_unknown_run_is_a_clear_error(company: Company) -> None:
    """A key that is not on record is named, with a way to find the right one."""
    migrate(company.warehouse)
    with pytest.raises(ConfigurationError, match=r"no run 'nonsense'.*capi\.run"):
        render_report(company.warehouse, "nonsense")


def test_run_without_rows_renders(company: Company) -> None:
    """A run that finds nothing new says so."""
    company.record_sound(3)
    company.run_day()
    page = render(company, company.run_day().run_key)

    assert page.headline.startswith("Nothing new: no stage change of ")
    assert page.counts("status") == {"extracted": 0}


def test_complete_run_says_all(company: Company) -> None:
    """Where everything arrived, the headline says so without a list, and nothing needs a look."""
    company.record_sound(12)
    page = render(company, company.run_day().run_key)

    assert re.fullmatch(r"All 12 stage changes of .* reached Meta\.", page.headline)
    assert "If a row breaks several rules, the first one counts. Nothing." in page.text
    assert "attention" not in page.source.split("<body")[1]


def test_preview_is_marked(company: Company) -> None:
    """A preview is called one, in title, badge and headline, and does not claim that anything arrived."""
    company.record_sound(3)
    company.record(company.transition(lead_id="12"))
    page = render(company, company.run_day(company.facts(mode=Mode.PREVIEW)).run_key)

    assert re.fullmatch(r"Preview: 3 of 4 stage changes of .* would be sent to Meta; 1 needs a look\.", page.headline)
    assert "<title>Preview: " in page.source
    assert page.counts("status") == {"pending": 3, "quarantined": 1, "extracted": 4}
    assert "A preview sends nothing." in page.text


def test_test_run_is_marked(company: Company) -> None:
    """A test run is called one, in title, badge and headline."""
    company.record_sound(3)
    page = render(company, company.run_day(company.facts(mode=Mode.TEST), test_event_code="TEST1").run_key)

    assert re.fullmatch(r"Test run: all 3 stage changes of .* reached Meta as test events\.", page.headline)
    assert "<title>Test run: " in page.source
    assert page.counts("status") == {"delivered": 3, "extracted": 3}


def test_rejections_of_a_test_run_are_told_without_reason(company: Company) -> None:
    """A test run has no ledger: what Meta refused needs a look, and the page says where."""
    company.record(company.transition(email=None))
    company.stand_in.set_settings(deleted_lead_ids=[10**15 + 1])
    page = render(company, company.run_day(company.facts(mode=Mode.TEST), test_event_code="TEST1").run_key)

    assert page.headline.endswith("1 needs a look.")
    assert "Refused by Meta, or without a clear answer. A test run keeps no reason for each event." in page.text


def test_running_run_shows_the_ledger(company: Company) -> None:
    """Before its audit, a run shows what the ledger has by now."""
    company.record_sound(3)
    company.record(company.transition(stage="unheard of"))
    page = render(company, company.prepare().run_key)

    assert page.headline.startswith("Still running; so far none of the 4 stage changes of ")
    assert page.headline.endswith("3 are still to be sent and 1 needs a look.")
    assert page.counts("status") == {"pending": 3, "quarantined": 1, "extracted": 4}
    assert page.counts("reason") == {"stage_unmapped": 1}


@pytest.mark.parametrize("mode", [Mode.PREVIEW, Mode.TEST])
def test_running_run_without_ledger_claims_nothing(company: Company, mode: Mode) -> None:
    """Test and preview runs have no ledger to count in: before the audit, rows are not counted yet."""
    company.record_sound(3)
    page = render(company, company.prepare(company.facts(mode=mode), test_event_code="TEST1").run_key)

    assert "3 are not counted yet" in page.headline
    assert page.counts("status") == {"uncounted": 3, "extracted": 3}


def test_run_that_has_just_begun_renders(company: Company) -> None:
    """A run that has no row on record yet is not called empty."""
    insert_run(company.warehouse, "fresh", state="running", finished_at=None, lease_until="2100-01-01T00:00Z")

    assert render(company, "fresh").headline.endswith("has started; nothing is on record yet.")


def test_silent_run_is_told_from_a_running_one(company: Company) -> None:
    """Once the lease is over, the page says that the worker has probably died."""
    company.record_sound(3)
    run_key = company.prepare().run_key
    before = render(company, run_key)
    company.end_lease(run_key)

    assert "No sign of life" not in before.text
    assert "No sign of life" in render(company, run_key).text


def test_stopped_run_says_what_to_fix(company: Company) -> None:
    """An expired token is named in the headline, with its remedy, and no event is blamed."""
    company.record_sound(3)
    company.token = "expired"
    day = company.run_day()
    page = render(company, day.run_key)

    assert CredentialsError in day.error_types
    assert page.headline.startswith("Sending was stopped: Meta refuses the access token")
    assert page.headline.endswith("3 are still to be sent.")
    assert "Put a new token into the connection to Meta" in page.text
    assert page.counts("status") == {"pending": 3, "extracted": 3}


def test_unfinished_run_says_what_is_left(company: Company) -> None:
    """A run that Meta did not answer is not called a success."""
    company.record_sound(3)
    company.configure(delivery={"on_in_doubt": "hold"})
    company.stand_in.set_faults([{"kind": "reset_after"}])
    page = render(company, company.run_day().run_key)

    assert page.headline.startswith("Not finished: none of the 3 stage changes")
    assert page.headline.endswith("3 have an unknown outcome.")
    assert page.counts("reason") == {"outcome_unknown": 3}
    assert "What needs a look (3 in doubt)" in page.text
    assert "3 rows have an unknown outcome." in page.text
    assert page.counts("outcome") == {"in_doubt": 1}


@pytest.mark.parametrize(("mode", "nothing"), [(Mode.LIVE, "Nothing was"), (Mode.PREVIEW, "Preview: nothing would be")])
def test_refused_batch_is_told(company: Company, mode: Mode, nothing: str) -> None:
    """A batch that the contract refuses is the headline, and no row is called ready or delivered."""
    company.configure(quality={"min_rows_to_judge": 1, "max_quarantined_share": 0.1})
    company.record_sound(3)
    company.record(company.transition(lead_id="12"))
    page = render(company, company.run_day(company.facts(mode=mode)).run_key)
    statuses = page.counts("status")

    assert page.headline.startswith(f"{nothing} sent, since 1 of 4 stage changes")
    assert "at most 10% of the rows are quarantined. Here: 25.0%: 1 of 4 rows." in page.text
    assert statuses == ({"pending": 4, "extracted": 4} if mode is Mode.LIVE else statuses)
    assert sum(statuses.values()) == 8
    assert "Built exactly as a live run would send it" not in page.text
    assert ("No row for itself: the contract refused all of them." in page.text) == (mode is Mode.LIVE)
    assert page.columns("0") >= 1


def test_broken_rule_about_the_batch_is_told(company: Company) -> None:
    """A warning stands on the cover with its figure, and the rule leads to what to do about it."""
    company.configure(quality={"emails": {"severity": "warning"}, "phones": {"severity": "info"}})
    company.record_sound(20, email=None)
    page = render(company, company.run_day().run_key)
    oddities = [data["oddity"] for data in page.data if "oddity" in data]

    assert "Few rows carry an email address (here: 0.0% of the rows)." in page.text
    assert page.text.index("The batch looks odd") < page.text.index("Where every row went")
    assert "`source.columns.email` names it".replace("`", "") in page.text
    assert oddities == ["emails_few", "phones_few"]
    assert page.counts("rule", "failed")["emails_few"] == 20


def test_critical_rule_about_the_batch_is_the_headline(company: Company) -> None:
    """What stopped the run is its first sentence, and what to do the second."""
    company.configure(quality={"phones": {"severity": "critical"}})
    company.record_sound(20)
    page = render(company, company.run_day().run_key)

    assert page.headline.startswith("Nothing was sent of ")
    assert page.headline.endswith("Few rows carry a phone number (here: 0.0% of the rows).")
    assert "Then clear this run: nothing was sent, and nothing is lost." in page.text


def test_rule_of_ones_own_is_named(company: Company) -> None:
    """Rules of one's own share a reason: the page says which of them are broken."""
    rule = {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "currency", "value_set": ["EUR"]}}
    rules = [
        {**rule, "quarantine": True, "description": "prices are in euro"},
        {**rule, "description": "<b>odd</b>"},
    ]
    company.configure(quality={"expectations": rules})
    company.record(company.transition(value=1, currency="USD"), company.transition())
    day = company.run_day()
    page = render(company, day.run_key)

    assert day.errors == []
    assert "Broken here: prices are in euro." in page.text
    assert "A rule of your own is broken: <b>odd</b> (here: 50.0% of the rows)." in page.text


@pytest.mark.thorough
def test_each_rule_is_shown_over_the_last_runs(company: Company) -> None:
    """A small chart for each rule has a column for each run that judged it."""
    company.record(company.transition(lead_id="12"), company.transition())
    company.run_day()
    company.move_clock(timedelta(days=1))
    company.record_sound(3)
    page = render(company, company.run_day().run_key)
    charts = dict(zip(
        [data["rule"] for data in page.data if "rule" in data],
        re.findall(r'<svg class="spark[^>]*aria-label="([^"]*)"', page.source), strict=True,
    ))  # fmt: skip

    assert charts["lead_id_invalid"] == "broken in 1 of 2 runs, by at most 50.0%"
    assert charts["stage_missing"] == "broken in 0 of 2 runs, by at most 0.0%"


def test_abandoned_run_hands_over(company: Company) -> None:
    """A run that was given up says how many rows a later run took over."""
    company.record_sound(3)
    run_key = company.prepare().run_key
    company.end_lease(run_key)
    company.run_day()
    page = render(company, run_key)

    assert page.headline.startswith("Given up: none of the 3 stage changes")
    assert page.headline.endswith("3 were handed over to a later run.")
    assert page.counts("status") == {"handed_over": 3, "extracted": 3}


def test_failed_run_whose_rows_a_later_run_took_adds_up(company: Company) -> None:
    """A failed run keeps the counts of its audit: rows taken over later are not counted twice or called a defect."""
    company.judges_rows = False
    company.record_sound(6)
    failed = company.prepare()
    company.audit_anyhow(failed.run_key)
    company.run_day()
    page = render(company, failed.run_key)

    assert company.run_row(failed.run_key)["taken_over"] == 6
    assert page.counts("status") == {"pending": 6, "extracted": 6}
    assert "defect" not in page.text
    assert "6 events were left open. A later run has taken over what was left." in page.text


def test_broken_law_is_shown(company: Company) -> None:
    """Counts that do not add up are called a defect, and the missing rows are on the page."""
    insert_run(company.warehouse, "odd", state="failed", extracted=10, delivered=7)
    page = render(company, "odd")

    assert "The counts do not add up" in page.text
    assert page.counts("status") == {"delivered": 7, "uncounted": 3, "extracted": 10}


def test_ledger_at_odds_with_requests_is_shown(company: Company) -> None:
    """A failed run whose counts add up and that left nothing failed for a check of the audit."""
    insert_run(company.warehouse, "odd", state="failed", extracted=7, delivered=7)

    assert "The audit found that the ledger and the requests differ." in render(company, "odd").text


def test_run_that_ended_before_its_first_row_renders(company: Company) -> None:
    """A run that was given up at once is not said to have found nothing new."""
    insert_run(company.warehouse, "short", state="abandoned")

    assert render(company, "short").headline.endswith("ended before it had picked any stage change.")


@pytest.mark.sweep(keep=3)
@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("state", ["running", "succeeded", "failed", "abandoned"])
def test_every_state_renders_in_every_mode(company: Company, state: str, mode: Mode) -> None:
    """No combination of state and mode fails, also where nothing but the run itself is on record."""
    for stop_reason in (None, "auth_190"):
        key = f"{state}-{stop_reason}"
        insert_run(company.warehouse, key, state=state, mode=mode, stop_reason=stop_reason, extracted=5, pending=2)
        page = render(company, key)

        assert (page.mistakes, page.open_tags) == ([], [])
        assert {"state": state, "mode": str(mode)} in page.data


def test_held_transitions_are_told(company: Company) -> None:
    """Stage changes that another run holds are named apart from those of this run."""
    insert_run(company.warehouse, "second", state="running", held=1200)

    assert "1,200 stage changes of the window were held by another run" in render(company, "second").text


# Names that must not do harm ------------------------------------------------------------------------------------------

HOSTILE = [
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt;",
    "x" * 1000,
]


@pytest.mark.sweep(keep=1)
@pytest.mark.parametrize("mode", [Mode.LIVE, Mode.PREVIEW])
def test_hostile_stage_names_are_only_text(company: Company, mode: Mode) -> None:
    """Markup in a stage's name is shown as it is written, and a long name is cut."""
    company.record_sound(1)
    clean = render(company, company.run_day(company.facts(mode=Mode.PREVIEW)).run_key)
    for stage in HOSTILE:
        company.record(company.transition(stage=stage))
    page = render(company, company.run_day(company.facts(mode=mode)).run_key)

    assert not LOADING_TAGS & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert (page.mistakes, page.open_tags) == ([], [])
    assert set(page.tags) <= set(clean.tags) | {"ul", "li", "b", "h3", "a", "pre", "details", "summary", "tfoot"}
    assert all(stage in page.text for stage in HOSTILE[:-1])
    assert "x" * 61 not in page.text


@pytest.mark.parametrize("column", ["dag_run_id", "stop_reason", "run_type", "pipeline", "configuration_digest"])
def test_hostile_texts_of_a_run_are_only_text(company: Company, column: str) -> None:
    """No other text of a run becomes markup."""
    insert_run(company.warehouse, "evil", **{column: HOSTILE[0]})
    page = render(company, "evil")

    assert "script" not in page.tags
    assert HOSTILE[0] in page.text or column == "run_type"


def test_hostile_trace_id_is_only_text(company: Company) -> None:
    """An fbtrace_id is shown as text, whoever sent it."""
    insert_run(company.warehouse, "run")
    insert_request(company.warehouse, "run", fbtrace_id=HOSTILE[0])
    page = render(company, "run")

    assert "script" not in page.tags
    assert HOSTILE[0] in page.text


@pytest.mark.sweep(keep=1)
@pytest.mark.parametrize("stage", ["ada@example.org", "+49 (30) 901820-12", "call 555-0134-77"])
def test_personal_data_in_the_stage_column_is_hidden(company: Company, stage: str) -> None:
    """An address or a phone where the stage should be (a column mapped wrongly) does not reach the page."""
    company.record(company.transition(stage=stage))
    page = render(company, company.run_day().run_key)

    assert stage not in page.text
    assert HIDDEN in page.text


@pytest.mark.thorough
def test_funnel_has_an_end(company: Company) -> None:
    """A column with a thousand different stages does not make a page of a thousand rows; the rest is counted."""
    company.record(*(company.transition(stage=f"stage {chr(97 + n // 26)}{chr(97 + n % 26)}") for n in range(45)))
    page = render(company, company.run_day().run_key)
    others = {name: total for name, total in page.counts("stage", "total").items() if total}

    assert others["15 further stages"] == 15
    assert len(others) == 31


# The funnel -----------------------------------------------------------------------------------------------------------


def steps_of(page: Page) -> dict[str, tuple[str, str | None]]:
    """Return size and rate of each step of the funnel, in their order."""
    return {data["step"]: (data["size"], data.get("rate")) for data in page.data if "step" in data}


def test_funnel_shows_stages_that_nobody_reached(company: Company) -> None:
    """A stage of the pipeline file without a row is a step with nobody in it; after it, no share can be given."""
    company.configure(stages={"won": "Won", "new": "Lead", "hot": "Hot", "lost": "Lost"}, lost_stages=None)
    company.record_sound(4)
    company.record(company.transition(stage="lost"), company.transition(stage="odd"))

    assert steps_of(render(company, company.run_day().run_key)) == {
        "won": ("0", None),
        "new": ("4", None),
        "hot": ("0", "0%"),
        "lost": ("1", None),
        "odd": ("1", None),
    }


def test_running_run_has_the_order_of_the_run_before(company: Company) -> None:
    """Before its audit, a run shows the order that another one with the same pipeline file has on record."""
    company.record_sound(2, stage="won")
    company.run_day()
    company.record_sound(3, stage="contacted")
    page = render(company, company.prepare().run_key)

    assert list(steps_of(page)) == ["new", "contacted", "qualified", "opportunity", "won"]
    assert steps_of(page)["contacted"] == ("3", None)


def test_run_of_an_older_version_has_its_busiest_stage_first(company: Company) -> None:
    """Without the order on record, no order is claimed: there are no shares of the stage before."""
    company.record_sound(2)
    company.record_sound(3, stage="won")
    run_key = company.run_day().run_key
    company.warehouse.execute("UPDATE capi.run SET figures = figures - 'stages' - 'leads'")
    page = render(company, run_key)

    assert steps_of(page) == {"won": ("3", None), "new": ("2", None)}
    assert "the busiest comes first" in page.text
    assert "Of the stage before" not in page.text


def test_preview_counts_stage_changes(company: Company) -> None:
    """A preview keeps no ledger to count leads in, and says that it counts stage changes."""
    company.record_sound(4)
    company.record_sound(2, stage="contacted")
    page = render(company, company.run_day(company.facts(mode=Mode.PREVIEW)).run_key)

    assert steps_of(page)["contacted"] == ("2", "50.0%")
    assert "The stage changes to each stage, in the order of the pipeline file." in page.text


def test_rows_without_a_lead_id_are_told(company: Company) -> None:
    """Leads are counted by Meta's lead id; what cannot be counted is told."""
    company.record_sound(3)
    company.record_sound(2, lead_id=None)
    page = render(company, company.run_day().run_key)

    assert steps_of(page)["new"] == ("3", None)
    assert "2 rows without Meta's lead id cannot be counted as leads." in page.text


# Which rows -----------------------------------------------------------------------------------------------------------


def test_long_lists_of_rows_are_cut(company: Company) -> None:
    """Of many rows the latest are listed, and all are counted."""
    company.configure(quality={"max_quarantined_share": 1})
    company.record(*(company.transition(stage="odd", transition_id=f"t-{n:04d}") for n in range(MAX_IDS + 5)))
    page = render(company, company.run_day().run_key)

    assert f"The latest {MAX_IDS} of {MAX_IDS + 5} transition ids" in page.text
    assert f"t-{MAX_IDS + 4:04d}" in page.text
    assert "t-0004" not in page.text


def test_ids_that_look_personal_are_hidden(company: Company) -> None:
    """An address or a phone within a transition id reaches neither the page nor the CSV."""
    ids = ["ada@example.org", "won +49 (30) 901820-12", "4711"]
    company.record(*(company.transition(transition_id=one, lead_id="1") for one in ids))
    run_key = company.run_day().run_key
    page, lines = render(company, run_key), "".join(write_reason_csv(company.warehouse, run_key))

    assert "2 are hidden, since they look like personal data." in page.text
    for shown in (page.text, lines):
        assert "ada@" not in shown
        assert "901820" not in shown
        assert "4711" in shown


def test_rows_that_a_later_run_took_are_told(company: Company) -> None:
    """A row that was mended is with the run that delivered it: the earlier page counts it and says that it has gone."""
    company.record(*(company.transition(stage="odd") for _ in range(3)))
    first = company.run_day().run_key
    company.warehouse.execute("UPDATE crm.lead_stage_transitions SET stage = 'new' WHERE transition_id LIKE '%1'")
    company.run_day()
    page = render(company, first)

    assert page.counts("reason") == {"stage_unmapped": 3}
    assert re.search(r"Which rows: 2 transition ids .{0,20}1 row has been taken over or settled since\.", page.text)


@pytest.mark.parametrize("mode", [Mode.PREVIEW, Mode.TEST])
def test_other_modes_keep_no_ids(company: Company, mode: Mode) -> None:
    """A preview or test run says that only a live run lists the rows; its CSV has no line."""
    company.record(company.transition(stage="odd"))
    run_key = company.run_day(company.facts(mode=mode), test_event_code="TEST1").run_key

    assert "keeps no ids of rows" in render(company, run_key).text
    assert len(list(write_reason_csv(company.warehouse, run_key))) == 1


def test_csv_is_linked_where_there_is_one(company: Company) -> None:
    """The page links to the CSV if it is told where that is; by itself it links to nothing outside."""
    company.record(company.transition(stage="odd"))
    run_key = company.run_day().run_key
    link = ("a", "href", "rows.csv?run=1&all")

    assert link in Page(render_report(company.warehouse, run_key, csv_url="rows.csv?run=1&all")).attributes
    assert link not in render(company, run_key).attributes


def test_csv_of_an_unknown_run_is_a_clear_error(company: Company) -> None:
    """It is told before the first line is asked for."""
    migrate(company.warehouse)
    with pytest.raises(ConfigurationError, match="no run 'nonsense'"):
        write_reason_csv(company.warehouse, "nonsense")


def test_csv_that_is_not_read_to_its_end_leaves_nothing_open(company: Company) -> None:
    """Whoever stops reading ends the transaction of the iterator."""
    company.record(*(company.transition(stage="odd") for _ in range(5)))
    lines = write_reason_csv(company.warehouse, company.run_day().run_key)
    found = [next(lines), next(lines)]
    lines.close()

    assert len(found) == 2
    assert company.warehouse.info.transaction_status == TransactionStatus.IDLE


# What needs attention -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "badge", "tones"),
    [
        ({}, "is-good", []),
        ({"state": "failed", "stop_reason": "auth_190"}, "is-alarm", ["alarm"]),
        ({"state": "failed", "pending": 3}, "is-alarm", ["alarm"]),
        ({"state": "abandoned"}, "is-attention", ["attention"]),
        ({"state": "running", "lease_until": "2100-01-01T00:00Z"}, "is-note", ["note"]),
        ({"state": "running"}, "is-attention", ["attention"]),
    ],
)
def test_state_has_a_tone(company: Company, columns: dict[str, Any], badge: str, tones: list[str]) -> None:
    """How urgent a run is has a colour and a shape, beside the words."""
    insert_run(company.warehouse, "run", extracted=3, **{"delivered": 3 - columns.get("pending", 0), **columns})
    page = render(company, "run")
    found = re.search(r'<span class="badge (is-[a-z]+)"><svg class="icon"', page.source)

    assert found
    assert found[1] == badge
    assert [data["notice"] for data in page.data if "notice" in data] == tones


# Requests and trend ---------------------------------------------------------------------------------------------------


def test_failed_requests_are_listed_up_to_twenty(company: Company) -> None:
    """Twenty failed requests are listed, the rest is counted."""
    insert_run(company.warehouse, "run")
    for number in range(25):
        insert_request(company.warehouse, "run", fbtrace_id=f"trace-{number:02d}", duration_ms=100)
    page = render(company, "run")

    assert len(set(re.findall(r"trace-\d\d", page.text))) == 20
    assert "20 of 25; the other 5 are in capi.request." in page.text


def test_what_stopped_a_run_is_listed_first(company: Company) -> None:
    """Among many failed requests, those that a person has to look at are listed first, and the list is open."""
    insert_run(company.warehouse, "run")
    insert_request(
        company.warehouse, "run", fbtrace_id="the-culprit", outcome="stopped", http_status=400, error_code=190
    )
    for number in range(25):
        insert_request(company.warehouse, "run", fbtrace_id=f"trace-{number:02d}")
    page = render(company, "run")

    assert "the-culprit" in page.text
    assert ("details", "open", "") in page.attributes


def test_durations_are_measured_over_answers(company: Company) -> None:
    """Median and 95th percentile are those of the requests that were answered."""
    insert_run(company.warehouse, "run")
    insert_request(company.warehouse, "run", outcome="sending")
    for duration_ms in range(1, 102):
        insert_request(company.warehouse, "run", outcome="delivered", duration_ms=duration_ms * 10)
    text = render(company, "run").text

    assert re.search(
        r"Requests ?102 ?Delivered nothing ?0 ?Half were faster than ?510 ms ?95% were faster than ?960 ms", text
    )


def test_large_numbers_are_readable(company: Company) -> None:
    """Numbers have thousands separators, also in the headline."""
    insert_run(company.warehouse, "big", extracted=1_234_567, delivered=1_234_566, rejected=1)
    page = render(company, "big")

    assert page.headline.startswith("1,234,566 of 1,234,567 stage changes")
    assert "> 99.9%" in page.text


def test_time_per_step_is_in_the_order_of_the_steps(company: Company) -> None:
    """The steps are shown in their order, each with the time it worked."""
    insert_run(company.warehouse, "run", timings='{"load": 65, "extract": 0.25}')

    assert re.search(r"Extract picks the rows 250 ms Load sends them to Meta 1 min 5 s", render(company, "run").text)


def test_trend_of_a_first_run_is_one_column(company: Company) -> None:
    """The first run has its column in each of the three charts."""
    insert_run(company.warehouse, "first", extracted=10, delivered=8, quarantined=2)
    page = render(company, "first")

    assert page.columns() == 3
    assert "This is the first live run of this pipeline on record" in page.text


def test_trend_is_about_the_last_thirty_runs_of_a_kind(company: Company) -> None:
    """Other modes, other pipelines, later runs and runs that were never audited are left out."""
    for number in range(40):
        insert_run(
            company.warehouse,
            f"run-{number:02d}",
            extracted=10,
            delivered=number,
            started_at=f"2026-01-01T00:{number}Z",
        )
    others: list[dict[str, str]] = [
        {"mode": "preview"},
        {"pipeline": "other"},
        {"state": "abandoned"},
        {"state": "running"},
    ]
    for number, other in enumerate(others):
        insert_run(company.warehouse, f"other-{number}", started_at="2026-01-01T00:30Z", **other)
    page = render(company, "run-35")
    shown = [data["run"] for data in page.data if "run" in data]

    assert page.columns() == 3 * 30
    assert shown == [f"run-{number:02d}" for number in range(35, 5, -1)]


def changes_of(page: Page) -> list[str]:
    """Return what the charts say about the run before."""
    return re.findall(r'data-change="\w+">.*?<span>(.*?)</span>', page.source)


def insert_day(warehouse: Connection, day: int, **columns: Any) -> None:
    """Record a daily run of November 2026."""
    moments = {"window_end": f"2026-11-{day + 1}T00:00Z", "started_at": f"2026-11-{day + 1}T00:05Z"}
    insert_run(warehouse, columns.pop("run_key", f"day-{day}"), **{**moments, **columns})


def test_change_since_the_run_before_is_told(company: Company) -> None:
    """Each chart says how its number has changed since the run of the window before."""
    insert_day(company.warehouse, 19, extracted=200, delivered=200)
    insert_day(company.warehouse, 20, extracted=100, delivered=90, quarantined=10)
    insert_day(company.warehouse, 21, extracted=100, delivered=93, quarantined=5, rejected=2)

    assert changes_of(render(company, "day-21")) == [
        "+3.3% against the run of 20 Nov (90)",
        "\u221230% against the run of 20 Nov (10)",
        "\u22125.0 points against the run of 20 Nov (10.0%)",
    ]
    assert changes_of(render(company, "day-20"))[1:] == [
        "+10 against the run of 19 Nov (0)",
        "+10.0 points against the run of 19 Nov (0%)",
    ]
    assert changes_of(render(company, "day-19")) == []


def test_same_number_is_told_as_such(company: Company) -> None:
    """No change is not written as +0%."""
    insert_day(company.warehouse, 20, extracted=10, delivered=10)
    insert_day(company.warehouse, 21, extracted=10, delivered=10)

    assert changes_of(render(company, "day-21")) == ["as in the run of 20 Nov"] * 3


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"day": 21, "run_key": "pass-1", "delivered": 7}, id="another pass has delivered of this window"),
        pytest.param({"day": 20, "mode": "preview"}, id="a preview"),
        pytest.param({"day": 20, "pipeline": "other"}, id="another pipeline"),
        pytest.param({"day": 20, "is_sweep": False}, id="a backfill"),
        pytest.param({"day": 22, "started_at": "2026-01-01T00:00Z"}, id="a later window"),
    ],
)
def test_change_compares_like_with_like(company: Company, other: dict[str, Any]) -> None:
    """There is no comparison with a run of another kind, nor for the rest of a window that a run has worked on."""
    insert_day(company.warehouse, extracted=10, **other)
    insert_day(company.warehouse, 21, run_key="shown", extracted=10, delivered=8, started_at="2026-11-23T00:00Z")

    assert changes_of(render(company, "shown")) == []


def test_unfinished_run_is_not_compared(company: Company) -> None:
    """Half a day's figures say nothing about a change."""
    insert_day(company.warehouse, 20, extracted=10, delivered=10)
    insert_day(company.warehouse, 21, extracted=10, state="running")

    assert changes_of(render(company, "day-21")) == []


def test_contents_lead_to_every_part(company: Company) -> None:
    """Each part of the page is in the list of contents, in its order, with the number of rows that need a look."""
    company.record(company.transition(stage="odd"))
    page = render(company, company.run_day().run_key)
    listed = re.findall(r'<a href="#(\w+)"', page.source.split("<main>")[0])

    assert listed == re.findall(r'<section class="part[^"]*" id="(\w+)"', page.source)
    assert "What needs a look (1)" in page.text


def test_trend_has_the_counts_of_a_run_before_its_audit(company: Company, pipeline: Pipeline) -> None:
    """The column of a run that is still at work shows what the rest of its page shows."""
    company.pipeline = configured(pipeline, delivery={"chunk_size": 2})
    company.record_sound(5)
    day = company.prepare()
    company.load(day.shards[0])
    page = render(company, day.run_key)

    assert page.counts("status") == {"delivered": 5, "extracted": 5}
    assert re.search(r"<title>[^<]*: 5</title>", page.source)
