"""Play rounds in parallel. Each job has a PostgreSQL server of its own."""

from __future__ import annotations

import multiprocessing
import queue
import time
import traceback
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from harness import Report, play_round
from servers import running_parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.synchronize import Event

    Played = tuple[int, Report, float]  # seed, what happened, seconds

_processes = multiprocessing.get_context("spawn")
_POLL_S = 1.0


def play_all(seeds: Sequence[int], *, jobs: int) -> Iterator[Played]:
    """Yield each round as it ends. Closing the generator stops the rounds."""
    done: multiprocessing.Queue[Played] = _processes.Queue()
    stop = _processes.Event()
    players = [_processes.Process(target=_play_some, args=(seeds[place::jobs], done, stop)) for place in range(jobs)]
    for player in players:
        player.start()
    left = len(seeds)
    try:
        while left:
            with suppress(queue.Empty):
                yield done.get(timeout=_POLL_S)
                left -= 1
                continue
            if not any(player.is_alive() for player in players):
                raise RuntimeError(f"{left} rounds were not played: their processes died")
    finally:
        stop.set()
        while any(player.is_alive() for player in players):  # a job ends only after its last report is taken
            with suppress(queue.Empty):
                done.get(timeout=_POLL_S)


def _play_some(seeds: Sequence[int], done: multiprocessing.Queue[Played], stop: Event) -> None:
    left = deque(seeds)
    while left and not stop.is_set():
        with running_parts() as parts:
            while left and not stop.is_set():
                seed, began = left.popleft(), time.monotonic()
                try:
                    report = play_round(parts, seed, now=datetime.now(UTC))
                except Exception:  # noqa: BLE001 - a defect of the harness must not count as a good round
                    failure = f"the harness itself failed: {traceback.format_exc()}"
                    done.put((seed, Report(rounds=1, broken=[failure]), time.monotonic() - began))
                    break  # start a new server: the state of this one is unknown
                done.put((seed, report, time.monotonic() - began))
