"""How far a load is: in the task's log, and on the terminal of `make run`."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from crm_to_meta_demo.progress import SendingProgress, follow

if TYPE_CHECKING:
    from pathlib import Path

    from daily_run import Company


def test_long_load_tells_how_far_it_is(
    company: Company, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events done and to be done, rate, time left and requests; whatever became of the events, all are counted."""
    monkeypatch.setattr("crm_to_meta.load.progress.TELL_EVERY_S", 0.0)
    caplog.set_level(logging.INFO, "crm_to_meta")
    company.judges_rows = False
    ids = company.record_sound(35)
    company.stand_in.set_settings(poisoned_event_ids={ids[3]: 2804050})
    company.run_day()
    told = [record.getMessage() for record in caplog.records if record.name == "crm_to_meta"]

    assert " of 35 events, " in told[0]
    assert " left, " in told[0]
    assert "35 of 35 events, " in told[-1]
    assert told[-1].endswith(f"{len(company.requests())} requests")


def test_terminal_shows_what_is_sent_so_far(company: Company) -> None:
    """Nothing before the first request; then how many events of the run Meta has taken."""
    company.judges_rows = False
    company.record_sound(35)
    (shard,) = company.prepare().shards
    sending = SendingProgress()
    before = sending.describe(company.warehouse, shard.run_key)
    company.load(shard)
    after = sending.describe(company.warehouse, shard.run_key)

    assert before == ""
    assert after.startswith("35 of 35 events, ")
    assert after.endswith(", 4 requests")


@pytest.mark.parametrize(
    ("log", "is_found"),
    [
        ("Created dag run. dagrun=<DagRun a @ b: manual__2026-11-25T12:30:55.652590+00:00, state:running>", True),
        ("Created dag run. dagrun=<DagRun a @ b: manual__2026-11-25T12:30:55.111111+00:00, state:running>", False),
        ("", False),
    ],
    ids=["own run", "own run not in the warehouse", "no run yet"],
)
def test_terminal_follows_its_own_run(company: Company, tmp_path: Path, log: str, *, is_found: bool) -> None:
    """Of two runs at the same time each is shown in the terminal that started it, the older one as well."""
    company.record_sound(1)
    own = company.extract(company.facts("manual__2026-11-25T12:30:55.652590+00:00"))
    company.extract(company.facts("manual__2026-11-25T12:30:57.652590+00:00"))
    log_file = tmp_path / "run.log"
    log_file.write_text(log)
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        run_key = follow(process, company.warehouse, company.pipeline.name, log_file, Console(file=io.StringIO()))

    assert run_key == (own.run_key if is_found else None)
