"""Ids and keys are pure functions of what they stand for."""

from __future__ import annotations

import re
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import combinations
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_to_meta.models import (
    BatchReason,
    DagRunFacts,
    Mode,
    Reason,
    Shard,
    Status,
    Window,
    event_id_of,
    held_back_table_of,
    run_key_of,
    staging_table_of,
)

pipeline_names = st.from_regex(r"[a-z][a-z0-9_]{0,39}", fullmatch=True)
transition_ids = st.text(max_size=60)
DAY = Window(start=datetime(2026, 3, 1, tzinfo=UTC), end=datetime(2026, 3, 2, tzinfo=UTC), is_sweep=False)
FACTS = DagRunFacts(dag_run_id="scheduled__2026-03-02", run_type="scheduled", mode=Mode.LIVE, window=DAY)
LONGEST_POSTGRES_NAME = 63


def key_of(facts: DagRunFacts = FACTS, *, pipeline: str = "leads", zone: str = "UTC", pass_no: int = 1) -> str:
    """Return the run key of a first pass in UTC, changed as given."""
    return run_key_of(pipeline=pipeline, zone=ZoneInfo(zone), facts=facts, pass_no=pass_no)


# --- event_id ---------------------------------------------------------------------------------------------------------


def test_an_event_id_is_what_it_always_was() -> None:
    """A released event id never changes: this one was worked out with sha256sum."""
    expected = uuid.UUID(sha256(b"conversion_leads\x1f42").hexdigest()[:32])

    assert event_id_of("conversion_leads", "42") == expected == uuid.UUID("43c1257a93913ebdb1aa932a367b378e")


@given(pipeline=pipeline_names, transition_id=transition_ids)
def test_an_event_id_is_a_pure_function(pipeline: str, transition_id: str) -> None:
    """The same transition has the same id, whenever it is asked for."""
    assert event_id_of(pipeline, transition_id) == event_id_of(pipeline, transition_id)


@given(pairs=st.lists(st.tuples(pipeline_names, transition_ids), min_size=2, max_size=20, unique=True))
def test_event_ids_of_different_transitions_differ(pairs: list[tuple[str, str]]) -> None:
    """Neither two transitions nor two pipelines share an id."""
    assert len({event_id_of(*pair) for pair in pairs}) == len(pairs)


def test_pipeline_and_transition_id_do_not_run_into_each_other() -> None:
    """The border between pipeline and transition id counts."""
    ids = {event_id_of("leads", "11"), event_id_of("leads1", "1"), event_id_of("leads11", "")}

    assert len(ids) == 3


# --- run_key ----------------------------------------------------------------------------------------------------------


def test_run_keys_tell_passes_modes_windows_runs_and_pipelines_apart() -> None:
    """A change of pass, mode, window, DAG run or pipeline is another run."""
    later = replace(DAY, end=DAY.end + timedelta(hours=1))
    earlier = replace(DAY, start=DAY.start - timedelta(days=7))
    keys = [
        key_of(),
        key_of(pass_no=2),
        key_of(pipeline="other"),
        key_of(replace(FACTS, mode=Mode.TEST)),
        key_of(replace(FACTS, mode=Mode.PREVIEW)),
        key_of(replace(FACTS, dag_run_id="manual__2026-03-02")),
        key_of(replace(FACTS, window=later)),
        key_of(replace(FACTS, window=earlier)),
    ]

    assert all(one != other for one, other in combinations(keys, 2))
    assert key_of() == keys[0]


def test_a_run_key_begins_with_the_last_day_of_its_window() -> None:
    """People find a run by the day that it is about."""
    assert re.fullmatch(r"20260301-[0-9a-f]{8}-3", key_of(pass_no=3))


@pytest.mark.parametrize("zone", ["America/New_York", "UTC", "Europe/Berlin", "Asia/Tokyo", "Pacific/Kiritimati"])
def test_the_last_day_is_a_day_of_the_pipelines_zone(zone: str) -> None:
    """July 1 is called July 1 east and west of Greenwich, though New York's ends on July 2 in UTC."""
    start, end = (datetime(2026, 7, day, tzinfo=ZoneInfo(zone)).astimezone(UTC) for day in (1, 2))
    facts = replace(FACTS, window=Window(start=start, end=end, is_sweep=False))

    assert key_of(facts, zone=zone).startswith("20260701-")


# --- the rest ---------------------------------------------------------------------------------------------------------


@given(run_key=st.text(min_size=1, max_size=200))
def test_table_names_need_no_quotes_and_fit(run_key: str) -> None:
    """Whatever the run key, its tables have plain names that PostgreSQL does not cut."""
    names = {staging_table_of(run_key), held_back_table_of(run_key)}

    assert len(names) == 2
    assert all(re.fullmatch("[a-z0-9_]+", name) and len(name) <= LONGEST_POSTGRES_NAME for name in names)


def test_runs_have_tables_of_their_own() -> None:
    """Two passes of one DAG run do not share a table."""
    assert staging_table_of(key_of(pass_no=1)) != staging_table_of(key_of(pass_no=2))
    assert held_back_table_of(key_of(pass_no=1)) != held_back_table_of(key_of(pass_no=2))


def test_a_shard_is_labelled_by_its_rows() -> None:
    """Airflow's UI shows which rows a mapped task is about."""
    assert Shard(run_key="key", shard_no=1, first_row=1001, last_row=1500).label == "rows 1001-1500"


@pytest.mark.parametrize("word", [*Status, *Reason, *BatchReason, *Mode], ids=str)
def test_words_that_people_query_are_plain(word: str) -> None:
    """Statuses, reasons and modes are lowercase words with underscores."""
    assert re.fullmatch("[a-z]+(_[a-z]+)*", word)
