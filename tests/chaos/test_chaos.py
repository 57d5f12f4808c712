"""Chaos: the laws hold in the end, whatever was killed, paused or refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from harness import play_round
from servers import running_parts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers import Parts

SEEDS = range(1, 21)  # `make chaos` plays any number


@pytest.fixture(scope="module")
def parts() -> Iterator[Parts]:
    """Start a PostgreSQL server for these tests alone, since some rounds kill it, and a stand-in for Meta."""
    with running_parts() as running:
        yield running


@pytest.mark.sweep(keep=1)
@pytest.mark.parametrize("seed", SEEDS)
def test_laws_hold(parts: Parts, seed: int) -> None:
    """After a round of chaos and a few clean runs no law is broken."""
    report = play_round(parts, seed, now=datetime.now(UTC))

    assert report.broken == [], f"make chaos ROUNDS=1 SEED={seed}"
