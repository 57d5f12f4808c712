"""Many rounds at a time: seeds in, each round's report out as it ends. Every job has a server of its own."""

from __future__ import annotations

import multiprocessing
import queue
import time
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from harness import Report, play_round
from servers import running_parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Played = tuple[int, Report, float]  # seed, what happened, seconds

_processes = multiprocessing.get_context("spawn")
_POLL_S = 1.0


def play_all(seeds: Sequence[int], *, jobs: int) -> Iterator[Played]:
    """Yield each round as it ends."""
    done: multiprocessing.Queue[Played] = _processes.Queue()
    players = [_processes.Process(target=_play_some, args=(seeds[place::jobs], done)) for place in range(jobs)]
    for player in players:
        player.start()
    left = len(seeds)
    while left:
        try:
            yield done.get(timeout=_POLL_S)
            left -= 1
        except queue.Empty:
            if not any(player.is_alive() for player in players):
                raise RuntimeError(f"{left} rounds were not played: their processes died") from None
    for player in players:
        player.join()


def _play_some(seeds: Sequence[int], done: multiprocessing.Queue[Played]) -> None:
    with running_parts() as parts:
        for seed in seeds:
            began = time.monotonic()
            try:
                report = play_round(parts, seed, now=datetime.now(UTC))
            except Exception:  # noqa: BLE001 - a defect of the harness must not pass for a round that went well
                report = Report(rounds=1, broken=[f"the harness itself failed: {traceback.format_exc()}"])
            done.put((seed, report, time.monotonic() - began))
