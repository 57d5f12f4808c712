"""Chaos: whatever is killed, paused or refused, and whenever, the laws hold in the end."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from harness import Server, play_round

from demo.meta_stand_in.testing import StandIn, running_stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator

SEEDS = range(1, 7)  # a sample in every `make test`; `make chaos` plays as many as you like


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A PostgreSQL server of these tests' own: some rounds kill it."""
    with TemporaryDirectory(prefix="pg-") as folder:
        server = Server(Path(folder) / "data")
        yield server
        server.stop()


@pytest.fixture(scope="module")
def meta() -> Iterator[StandIn]:
    """One stand-in for Meta for all rounds, since stopping one takes half a second."""
    with running_stand_in() as stand_in:
        yield stand_in


@pytest.mark.parametrize("seed", SEEDS)
def test_laws_hold(server: Server, meta: StandIn, seed: int) -> None:
    """After a round of chaos and a few clean runs no law is broken."""
    report = play_round(server, meta, seed, now=datetime.now(UTC))

    assert report.broken == [], f"make chaos ROUNDS=1 SEED={seed}"
