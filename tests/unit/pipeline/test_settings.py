"""A pipeline file is checked before anything else happens, and a bad one is told in one sentence: file, key, remedy."""

from __future__ import annotations

import traceback
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from pydantic import ValidationError

from crm_to_meta.errors import PipelineFileError
from crm_to_meta.pipeline.settings import (
    OTHER_FIELDS,
    PERSONAL_FIELDS,
    PIPELINES_FOLDER,
    REQUIRED_FIELDS,
    SOURCE_FIELDS,
    Delivery,
    Pipeline,
    Quality,
    Source,
    list_pipeline_files,
    load_pipeline,
)

if TYPE_CHECKING:
    from pathlib import Path

MINIMAL: dict[str, Any] = {"start_date": "2026-01-01", "stages": {"new": "Lead"}}
SECRET = "EAABwzLixnjYBO0secret"  # looks like an access token


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty folder for pipeline files."""
    folder = tmp_path / "include" / "pipelines"
    folder.mkdir(parents=True)
    return folder


def write(folder: Path, content: str | bytes | dict[str, Any], name: str = "leads.yaml") -> Path:
    """Write a pipeline file and return its path."""
    path = folder / name
    text = yaml.safe_dump(content, sort_keys=False) if isinstance(content, dict) else content
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refusal_of(path: Path) -> str:
    """Return why a file is refused, after a look for secrets in the whole traceback."""
    with pytest.raises(PipelineFileError) as refusal:
        load_pipeline(path)
    assert SECRET not in "".join(traceback.format_exception(refusal.value)), "YAML's own errors quote the file"
    return str(refusal.value)


# --- Good files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(PIPELINES_FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_pipeline_loads(path: Path) -> None:
    """What comes with the project works, under the name of its file."""
    pipeline = load_pipeline(path)

    assert pipeline.name == path.stem
    assert pipeline.dag_id == f"crm_to_meta_{path.stem}"


def test_pipeline_files_are_listed_by_name() -> None:
    """Every YAML file of the folder is a pipeline, in the order of names."""
    assert [path.name for path in list_pipeline_files()] == sorted(
        path.name for path in PIPELINES_FOLDER.glob("*.yaml")
    )


def test_pipeline_files_can_be_kept_elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CRM_TO_META_PIPELINES names another folder; one without files has no pipelines."""
    monkeypatch.setenv("CRM_TO_META_PIPELINES", str(folder))

    assert list_pipeline_files() == []


def test_a_minimal_file_gets_the_documented_defaults(folder: Path) -> None:
    """Start date and stages are all that has to be there; the rest is the design's."""
    pipeline = load_pipeline(write(folder, MINIMAL))

    assert pipeline == Pipeline(
        name="leads",
        description="",
        schedule="0 0 * * *",
        time_zone="UTC",
        start_date=date(2026, 1, 1),
        lookback_hours=192,
        stages={"new": "Lead"},
        unmapped_stages="quarantine",
        default_country=None,
        date_of_birth_order="year_first",
        source=Source(table="crm.lead_stage_transitions", event_time_type="timestamptz", columns={}),
        quality=Quality(max_quarantined_share=0.5, min_rows_to_judge=20, future_tolerance_seconds=60),
        delivery=Delivery(on_in_doubt="resend", chunk_size=1000),
    )
    assert pipeline.connections.warehouse == "warehouse"
    assert pipeline.connections.meta == "meta_capi"


def test_what_follows_from_the_settings() -> None:
    """Zone, schema, table and the age at which an event is given up come from the settings."""
    pipeline = Pipeline(
        **MINIMAL,
        name="leads",
        time_zone="Europe/Berlin",
        source=Source(table="sales.stage_log"),
        delivery=Delivery(expiry_margin_minutes=90),
    )

    assert pipeline.zone == ZoneInfo("Europe/Berlin")
    assert pipeline.source.schema_and_name == ("sales", "stage_log")
    assert pipeline.delivery.max_event_age == timedelta(days=7) - timedelta(minutes=90)


@pytest.mark.parametrize("word", ["off", "'off'"])
def test_a_bare_off_is_off(folder: Path, word: str) -> None:
    """YAML makes false of a bare `off`; here it is the word."""
    path = write(folder, f"start_date: 2026-01-01\nstages: {{new: Lead}}\nquality: {{rows: {{severity: {word}}}}}\n")

    assert load_pipeline(path).quality.rows.severity == "off"


def test_a_quoted_no_is_norway(folder: Path) -> None:
    """In quotes, YAML leaves the country alone."""
    path = write(folder, 'start_date: 2026-01-01\nstages: {"NO": Lost}\ndefault_country: "NO"\n')

    assert load_pipeline(path).default_country == "NO"
    assert load_pipeline(path).stages == {"NO": "Lost"}


def test_a_pipeline_does_not_change() -> None:
    """Settings are read once: nobody assigns to them."""
    pipeline = Pipeline(**MINIMAL, name="leads")

    with pytest.raises(ValidationError, match="frozen"):
        pipeline.schedule = "@hourly"


def test_fields_are_listed_once() -> None:
    """Each field of the contract is required, personal or other."""
    assert len(SOURCE_FIELDS) == len(set(SOURCE_FIELDS))
    assert set(SOURCE_FIELDS) == {*REQUIRED_FIELDS, *OTHER_FIELDS, *PERSONAL_FIELDS}


# --- Bad files --------------------------------------------------------------------------------------------------------

IN_QUOTES = "; put it in quotes (YAML reads a bare NO as false, a bare 7 as a number)."
SETTINGS = "; fix it (docs/settings.md)."
FIELD_LIST = ", ".join(SOURCE_FIELDS)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        pytest.param(
            "schedul: '@daily'", "key `schedul` is unknown; remove it or correct its spelling", id="unknown key"
        ),
        pytest.param(
            "delivery: {chunks: 5}",
            "key `delivery.chunks` is unknown; remove it or correct",
            id="unknown key in a section",
        ),
        pytest.param(
            f"connections: {{token: {SECRET}}}", "key `connections.token` is unknown", id="a token where none belongs"
        ),
        pytest.param("7: eight", "key `7`: Keys should be strings" + SETTINGS, id="key is a number"),
        pytest.param(
            "name: other", "key `name` is unknown, the file's name is the pipeline's; remove it.", id="name in the file"
        ),
        pytest.param(
            f"lookback_hours: {SECRET}",
            "key `lookback_hours`: Input should be a valid integer, unable to parse string as an integer" + SETTINGS,
            id="text for a number",
        ),
        pytest.param("schedule: 5", "key `schedule`: must be text" + IN_QUOTES, id="number for text"),
        pytest.param(
            "connections: {meta: null}", "key `connections.meta`: must be text" + IN_QUOTES, id="null for text"
        ),
        pytest.param(
            f"connections: {SECRET}", "key `connections`: Input should be a valid dictionary", id="text for a section"
        ),
        pytest.param("source: {columns: [a]}", "key `source.columns`: Input should be a valid dictionary", id="list"),
        pytest.param(
            f"delivery: {{on_in_doubt: {SECRET}}}",
            "key `delivery.on_in_doubt`: Input should be 'resend' or 'hold'" + SETTINGS,
            id="word that is no choice",
        ),
        pytest.param(
            "delivery: {chunk_size: 1001}",
            "key `delivery.chunk_size`: Input should be less than or equal to 1000" + SETTINGS,
            id="more events than Meta takes",
        ),
        pytest.param(
            "quality: {max_quarantined_share: .nan}",
            "key `quality.max_quarantined_share`: Input should be less than or equal to 1" + SETTINGS,
            id="NaN",
        ),
        pytest.param(
            "quality: {late_rows: {at_most: 0.125}}",
            "key `quality.late_rows.at_most`: Input should be a multiple of 0.01" + SETTINGS,
            id="a share that Great Expectations does not take",
        ),
        pytest.param(
            "quality: {rows: {severity: yes}}",
            "key `quality.rows.severity`: Input should be 'critical', 'warning', 'info' or 'off'" + SETTINGS,
            id="severity",
        ),
        pytest.param(
            "quality: {data_docs: docs}",
            "key `quality.data_docs`: must be an absolute path such as /srv/data-docs",
            id="relative folder",
        ),
        pytest.param(
            "quality: {expectations: [{type: expect_nothing}]}",
            "key `quality.expectations.0`: there is no expectation 'expect_nothing' for PostgreSQL" + SETTINGS,
            id="unknown expectation",
        ),
        pytest.param(
            "quality: {expectations: [{type: expect_column_values_to_not_be_null, kwargs: {column: e_mail}}]}",
            "key `quality.expectations.0`: there is no column 'e_mail'; columns are transition_id, stage, ",
            id="unknown column of an expectation",
        ),
        pytest.param(
            "quality: {expectations: [{type: expect_column_values_to_not_be_null, kwargs: {columns: email}}]}",
            "key `quality.expectations.0`: expect_column_values_to_not_be_null has no argument 'columns'; it takes ",
            id="unknown argument of an expectation",
        ),
        pytest.param(
            "quality: {expectations: [{type: expect_column_values_to_not_be_null, kwargs: {column: email}, "
            "severity: critical, quarantine: true}]}",
            "key `quality.expectations.0`: `quarantine` keeps rows back and `severity: critical` stops them all",
            id="quarantine and critical",
        ),
        pytest.param(
            "quality: {expectations: [{type: expect_table_row_count_to_be_between, severity: off}]}",
            "key `quality.expectations.0.severity`: Input should be 'critical', 'warning' or 'info'" + SETTINGS,
            id="an own rule that is off",
        ),
        pytest.param(
            f"time_zone: {SECRET}", "key `time_zone`: not a time zone name such as Europe/Berlin" + SETTINGS, id="zone"
        ),
        pytest.param(
            "source: {table: transitions}",
            "key `source.table`: must be written as schema.table" + SETTINGS,
            id="no schema",
        ),
        pytest.param(
            "source: {table: a.b.c}", "key `source.table`: must be written as schema.table" + SETTINGS, id="three parts"
        ),
        pytest.param(
            "source: {table: crm.}", "key `source.table`: must be written as schema.table" + SETTINGS, id="no table"
        ),
        pytest.param(
            "source: {columns: {mail: e_mail}}",
            f"key `source.columns`: unknown field 'mail'; fields are {FIELD_LIST}" + SETTINGS,
            id="unknown field",
        ),
        *(
            pytest.param(
                f"source: {{columns: {{{field}: null}}}}",
                f"key `source.columns`: '{field}' is required and cannot be switched off" + SETTINGS,
                id=f"{field} switched off",
            )
            for field in REQUIRED_FIELDS
        ),
        pytest.param(
            "default_country: NO", "key `default_country`: must be text" + IN_QUOTES, id="Norway, which YAML denies"
        ),
        pytest.param(
            "schedule: daily",
            "key `schedule`: not a cron expression such as 0 0 * * * (midnight)" + SETTINGS,
            id="no cron",
        ),
        pytest.param(
            "default_country: XX",
            "key `default_country`: must be a country's two capital letters such as US" + SETTINGS,
            id="no such country",
        ),
        pytest.param(
            "default_country: us",
            "key `default_country`: must be a country's two capital letters such as US" + SETTINGS,
            id="us",
        ),
        pytest.param(
            "default_country: USA",
            "key `default_country`: must be a country's two capital letters such as US" + SETTINGS,
            id="USA",
        ),
    ],
)
def test_a_bad_setting_is_told_by_key_and_remedy(folder: Path, setting: str, said: str) -> None:
    """The message names file, key and what to do, on one line, and does not repeat the value."""
    message = refusal_of(write(folder, f"{yaml.safe_dump(MINIMAL)}{setting}\n"))

    assert message.startswith(f"include/pipelines/leads.yaml: {said}")
    assert message.endswith(".")
    assert "\n" not in message
    assert SECRET not in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param("start_date: 2026-01-01", "key `stages` is missing; add it (docs/settings.md).", id="no stages"),
        pytest.param("stages: {a: A}", "key `start_date` is missing; add it (docs/settings.md).", id="no start date"),
        pytest.param(
            "start_date: 2026-01-01\nstages: {}", "key `stages`: Dictionary should have", id="empty stage map"
        ),
        pytest.param(
            "start_date: 2026-01-01\nstages: {won: ' '}",
            "key `stages`: stage 'won' has no event name" + SETTINGS,
            id="stage without an event name",
        ),
        pytest.param(
            "start_date: 2026-01-01\nstages: {NO: Lost}",
            "key `stages`: a key in it must be text" + IN_QUOTES,
            id="stage that YAML denies",
        ),
        pytest.param(
            "start_date: 2026-01-01\nstages: {7: Lost}",
            "key `stages`: a key in it must be text" + IN_QUOTES,
            id="stage that is a number",
        ),
        pytest.param(
            "start_date: 2026-01-01\nstages: {won: 7}",
            "key `stages.won`: must be text" + IN_QUOTES,
            id="event name that is a number",
        ),
        pytest.param(
            f"start_date: {SECRET}\nstages: {{a: A}}", "key `start_date`: Input should be a valid", id="no date"
        ),
        pytest.param(
            "start_date: 2026-02-30\nstages: {a: A}",
            "a date in it is not in the calendar, or a number is too long; check `start_date` first.",
            id="date that does not exist",
        ),
        pytest.param(
            f"start_date: 2026-01-01\nlookback_hours: {'9' * 5000}",
            "a date in it is not in the calendar, or a number is too long; check `start_date` first.",
            id="number that Python refuses to read",
        ),
        pytest.param("", "empty, or not a mapping of keys; start from conversion_leads.yaml.", id="empty"),
        pytest.param("# only a comment\n", "empty, or not a mapping of keys; start from", id="only a comment"),
        pytest.param(f"- {SECRET}", "empty, or not a mapping of keys; start from conversion_leads.yaml.", id="a list"),
        pytest.param(SECRET, "empty, or not a mapping of keys; start from conversion_leads.yaml.", id="a word"),
        pytest.param(f"a: 1\nb: [{SECRET}\n", "not readable as YAML (line 3); fix it there.", id="bracket left open"),
        pytest.param(f"a: 1\n\tb: {SECRET}", "not readable as YAML (line 2); fix it there.", id="tab"),
        pytest.param(
            f"a: !!python/name:os.{SECRET}", "not readable as YAML (line 1); fix it there.", id="Python object"
        ),
        pytest.param("a: \x00", "not readable as YAML; fix it there.", id="NUL"),
        pytest.param(b"a: \xff", "not readable as YAML; fix it there.", id="not UTF-8"),
    ],
)
def test_a_file_that_is_no_pipeline_is_told_by_what_it_lacks(folder: Path, content: str | bytes, said: str) -> None:
    """Whatever is in the file, the message is one sentence about it, without a value of it."""
    message = refusal_of(write(folder, content))

    assert message.startswith(f"include/pipelines/leads.yaml: {said}")
    assert message.endswith(".")
    assert "\n" not in message
    assert SECRET not in message


@pytest.mark.parametrize(
    "name",
    ["Leads.yaml", "1st.yaml", "my-leads.yaml", "my leads.yaml", "léads.yaml", f"{'a' * 41}.yaml"],
)
def test_a_bad_name_is_told(folder: Path, name: str) -> None:
    """The file's name becomes a DAG id: plain letters, digits and underscores."""
    message = refusal_of(write(folder, MINIMAL, name))

    assert message == (
        f"include/pipelines/{name}: key `name`: a pipeline's file name is a-z, 0-9 and _, starts with a letter, "
        "at most 40 characters" + SETTINGS
    )


def test_a_missing_file_lists_the_known_ones(folder: Path) -> None:
    """Who mistypes a pipeline's name sees which there are."""
    write(folder, MINIMAL, "second.yaml")
    write(folder, MINIMAL, "first.yaml")

    message = refusal_of(folder / "thrid.yaml")

    assert message == "include/pipelines/thrid.yaml: no such pipeline file; there are: first, second."


def test_a_missing_file_of_an_empty_folder_says_that_there_is_none(folder: Path) -> None:
    """An empty list would look like a defect of the message."""
    assert refusal_of(folder / "leads.yaml").endswith("there are: none.")


def test_a_folder_is_no_pipeline_file(folder: Path) -> None:
    """What the operating system does not let read is told like any bad file."""
    (folder / "leads.yaml").mkdir()

    message = refusal_of(folder / "leads.yaml")

    assert message == "include/pipelines/leads.yaml: not readable as YAML; fix it there."


# --- Data processing options ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "members"),
    [
        ({}, {}),
        ({"options": []}, {"data_processing_options": []}),
        (
            {"options": ["LDU"], "country": 1, "state": 1000},
            {
                "data_processing_options": ["LDU"],
                "data_processing_options_country": 1,
                "data_processing_options_state": 1000,
            },
        ),
    ],
    ids=["not mentioned", "none wanted", "Limited Data Use"],
)
def test_data_processing_options_are_what_meta_documents(
    folder: Path, options: dict[str, Any], members: dict[str, Any]
) -> None:
    """Nothing is said unless the file says it, and "none wanted" is another thing than nothing."""
    pipeline = load_pipeline(write(folder, MINIMAL | {"data_processing_options": options}))

    assert pipeline.data_processing_options.members == members


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"options": ["LDU"]}, "LDU needs `country: 1` and a `state`, one of 1000 California"),
        ({"options": ["LDU"], "country": 1}, "LDU needs `country: 1` and a `state`"),
        ({"options": ["LDU"], "state": 1000}, "LDU needs `country: 1` and a `state`"),
        ({"options": ["LDU"], "country": 1, "state": 0}, "LDU needs `country: 1` and a `state`"),
        ({"options": ["LDU"], "country": 1, "state": 1014}, "LDU needs `country: 1` and a `state`"),
        ({"options": [], "country": 1}, "country and state go with `options: [LDU]` only"),
        ({"state": 1000}, "country and state go with `options: [LDU]` only"),
        ({"options": ["ldu"], "country": 1, "state": 1000}, "data_processing_options.options"),
        ({"options": ["LDU", "LDU"], "country": 1, "state": 1000}, "data_processing_options.options"),
        ({"options": ["LDU"], "country": 0, "state": 1000}, "data_processing_options.country"),
    ],
)
def test_data_processing_options_that_meta_cannot_follow_are_refused(
    folder: Path, options: dict[str, Any], said: str
) -> None:
    """Without an IP address Meta finds nobody's state: Limited Data Use says country and state, or it does nothing."""
    message = refusal_of(write(folder, MINIMAL | {"data_processing_options": options}))

    assert "data_processing_options" in message
    assert said in message


# --- Stages beside the way --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stages", "lost"),
    [
        ({"new": "Lead", "lost": "Lost", "closed_lost": "No"}, {"lost", "closed_lost"}),
        ({"new": "Lead", "Verloren": "Disqualified Lead"}, {"Verloren"}),
        ({"new": "Lead", "lost and found": "Found", "deadline": "Deadline", "ghosted": "Ghost"}, {"lost and found"}),
    ],
)
def test_stages_that_sound_lost_are_beside_the_way(stages: dict[str, str], lost: set[str]) -> None:
    """Without the key, a stage is taken for lost by whole words of its name, or of its event's name."""
    assert Pipeline(**{**MINIMAL, "stages": stages}, name="leads").stages_off_the_way == lost


def test_the_file_says_which_stages_are_lost() -> None:
    """With the key, names say nothing; an empty list means that no stage is lost."""
    settings = {**MINIMAL, "name": "leads", "stages": {"new": "Lead", "lost": "Lost", "weg": "Gone"}}

    assert Pipeline(**settings, lost_stages=["weg"]).stages_off_the_way == {"weg"}
    assert Pipeline(**settings, lost_stages=[]).stages_off_the_way == frozenset()


def test_a_lost_stage_that_is_no_stage_is_refused(folder: Path) -> None:
    """A name that is not under `stages` would be beside nothing."""
    assert "lost_stages: 'gone' is not under `stages`" in refusal_of(write(folder, MINIMAL | {"lost_stages": ["gone"]}))


# --- Digest -----------------------------------------------------------------------------------------------------------

CHANGES: dict[str, dict[str, Any]] = {
    "name": {"name": "other"},
    "description": {"description": "other"},
    "schedule": {"schedule": "0 1 * * *"},
    "time_zone": {"time_zone": "Europe/Berlin"},
    "start_date": {"start_date": "2026-01-02"},
    "lookback_hours": {"lookback_hours": 24},
    "lease_minutes": {"lease_minutes": 20},
    "retention_days": {"retention_days": 31},
    "ledger_days": {"ledger_days": 90},
    "connections.warehouse": {"connections": {"warehouse": "other"}},
    "connections.meta": {"connections": {"meta": "other"}},
    "source.table": {"source": {"table": "crm.other"}},
    "source.event_time_type": {"source": {"event_time_type": "text"}},
    "source.columns": {"source": {"columns": {"email": "e_mail"}}},
    "stages": {"stages": {"new": "Raw Lead"}},
    "lost_stages": {"lost_stages": ["new"]},
    "unmapped_stages": {"unmapped_stages": "skip"},
    "default_country": {"default_country": "US"},
    "date_of_birth_order": {"date_of_birth_order": "day_first"},
    "data_processing_options.options": {"data_processing_options": {"options": []}},
    "data_processing_options.country": {"data_processing_options": {"options": ["LDU"], "country": 1, "state": 1000}},
    "data_processing_options.state": {"data_processing_options": {"options": ["LDU"], "country": 1, "state": 1005}},
    "quality.max_quarantined_share": {"quality": {"max_quarantined_share": 0.4}},
    "quality.min_rows_to_judge": {"quality": {"min_rows_to_judge": 10}},
    "quality.future_tolerance_seconds": {"quality": {"future_tolerance_seconds": 0}},
    "quality.rows.severity": {"quality": {"rows": {"severity": "critical"}}},
    "quality.rows.at_least": {"quality": {"rows": {"at_least": 0.5}}},
    "quality.rows.at_most": {"quality": {"rows": {"at_most": 10}}},
    "quality.rows.past_runs": {"quality": {"rows": {"past_runs": 4}}},
    "quality.lead_ids.severity": {"quality": {"lead_ids": {"severity": "warning"}}},
    "quality.lead_ids.at_least": {"quality": {"lead_ids": {"at_least": 0.9}}},
    "quality.emails.severity": {"quality": {"emails": {"severity": "off"}}},
    "quality.emails.at_least": {"quality": {"emails": {"at_least": 0.9}}},
    "quality.phones.severity": {"quality": {"phones": {"severity": "critical"}}},
    "quality.phones.at_least": {"quality": {"phones": {"at_least": 0.9}}},
    "quality.late_rows.severity": {"quality": {"late_rows": {"severity": "info"}}},
    "quality.late_rows.hours": {"quality": {"late_rows": {"hours": 24}}},
    "quality.late_rows.at_most": {"quality": {"late_rows": {"at_most": 0.07}}},
    "quality.new_stages.severity": {"quality": {"new_stages": {"severity": "info"}}},
    "quality.freshness.severity": {"quality": {"freshness": {"severity": "critical"}}},
    "quality.freshness.hours": {"quality": {"freshness": {"hours": 24}}},
    "quality.expectations": {"quality": {"expectations": [{"type": "expect_table_row_count_to_be_between"}]}},
    "quality.data_docs": {"quality": {"data_docs": "/srv/data-docs"}},
    "delivery.on_in_doubt": {"delivery": {"on_in_doubt": "hold"}},
    "delivery.chunk_size": {"delivery": {"chunk_size": 500}},
    "delivery.shard_chunks": {"delivery": {"shard_chunks": 10}},
    "delivery.parallel_shards": {"delivery": {"parallel_shards": 4}},
    "delivery.expiry_margin_minutes": {"delivery": {"expiry_margin_minutes": 30}},
    "delivery.test_events": {"delivery": {"test_events": 5}},
    "delivery.attempts": {"delivery": {"attempts": 3}},
    "delivery.concurrency": {"delivery": {"concurrency": 8}},
    "delivery.timeout_seconds": {"delivery": {"timeout_seconds": 30}},
}


JUDGES_NOTHING: dict[str, dict[str, Any]] = {
    "starts_on": {"starts_on": "both"},
    "alerts.on_failure": {"alerts": {"on_failure": [{"notifier": "crm_to_meta.errors.CrmToMetaError"}]}},
    "alerts.on_quality": {"alerts": {"on_quality": [{"notifier": "crm_to_meta.errors.CrmToMetaError"}]}},
    "alerts.late_after_minutes": {"alerts": {"late_after_minutes": 60}},
    "alerts.on_late": {
        "alerts": {"late_after_minutes": 60, "on_late": [{"notifier": "crm_to_meta.errors.CrmToMetaError"}]}
    },
    "source.asset": {"source": {"asset": "postgres://host:5432/database/schema/table"}},
}


def settings_of(model: Any, prefix: str = "") -> set[str]:
    """Return the dotted names of all settings of a model and its sections."""
    names: set[str] = set()
    for name, value in model:
        names |= settings_of(value, f"{prefix}{name}.") if hasattr(value, "model_fields_set") else {f"{prefix}{name}"}
    return names


def test_every_setting_has_its_change_below() -> None:
    """A new setting has to be listed here."""
    assert {*CHANGES, *JUDGES_NOTHING} == settings_of(Pipeline(**MINIMAL, name="leads"))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_the_digest_changes_with_every_setting(change: dict[str, Any]) -> None:
    """Rows that were judged under other settings are judged again."""
    before = Pipeline(**MINIMAL, name="leads")
    after = Pipeline(**{**MINIMAL, "name": "leads", **change})

    assert after.digest != before.digest
    assert len(after.digest) == 16


@pytest.mark.parametrize("change", JUDGES_NOTHING.values(), ids=JUDGES_NOTHING.keys())
def test_the_digest_is_about_what_judges_rows(change: dict[str, Any]) -> None:
    """What starts a run and who is told of it is no reason to judge rows again."""
    before = Pipeline(**MINIMAL, name="leads")
    after = Pipeline(**{**MINIMAL, "name": "leads", **change})

    assert after != before
    assert after.digest == before.digest


def test_the_digest_stays_with_the_settings(folder: Path) -> None:
    """The same file has the same digest, also where it spells a default out or has its keys in another order."""
    spelled_out = {"schedule": "0 0 * * *", "stages": {"new": "Lead"}, "start_date": date(2026, 1, 1)}
    path = write(folder, spelled_out)

    assert load_pipeline(path).digest == load_pipeline(path).digest == Pipeline(**MINIMAL, name="leads").digest


def test_a_key_that_is_there_twice_is_told(folder: Path) -> None:
    """YAML takes the last of two equal keys in silence; here a stage mapped twice is a mistake, with its line."""
    path = folder / "leads.yaml"
    path.write_text("start_date: 2026-01-01\nstages:\n  new: Lead\n  won: Converted\n  new: Contacted\n")

    message = refusal_of(path)

    assert "key 'new' is there twice" in message
    assert "line" in message


def test_that_the_countries_are_those_of_phonenumbers() -> None:
    """They are read from its files, since importing it takes longer than all else in a pipeline file."""
    from phonenumbers import SUPPORTED_REGIONS

    from crm_to_meta.pipeline.settings import _phone_regions

    assert _phone_regions() == set(SUPPORTED_REGIONS)
