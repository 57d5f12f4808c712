"""`make bench`: compare events per second of the transform, Meta's Business SDK, and the least possible work (floor).

All three read the same rows shard by shard, in one process and one thread. They take turns at going first, and garbage
is collected before each one. If the transform does not write exactly the floor's bytes, there is no result.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import subprocess
import sys
import time
import tracemalloc
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

from contenders import prepare_floor, prepare_sdk, prepare_transform
from differences import list_untrue_claims
from rows import SHARD_ROWS, make_shards
from warehouse import measure_step

if TYPE_CHECKING:
    from collections.abc import Callable

    from rows import Shard

_CONTENDERS: Final = {"transform": prepare_transform, "floor": prepare_floor, "SDK": prepare_sdk}
_WORDS: Final = {
    "transform": "this project: normalise, hash, JSON bytes",
    "floor": "hashlib over normal values, JSON bytes",
    "SDK": "facebook-business: Event, UserData, JSON",
}
_LEAST_TIMES_SDK: Final = 10
_MOST_TIMES_FLOOR: Final = 3


def main() -> int:
    """Run the benchmark; return 1 if the transform's bytes or the SDK's column in docs/hashing.md are wrong."""
    arguments = _read_arguments()
    if arguments.memory_of:
        _work_once(arguments.memory_of)
        return 0
    if untrue := list_untrue_claims():
        print("docs/hashing.md is wrong about the SDK:", *untrue, sep="\n  ")
        return 1
    seconds = dict.fromkeys(_CONTENDERS, 0.0)
    workers = {name: prepare() for name, prepare in _CONTENDERS.items()}
    for name, work in workers.items():  # tables that are built once in a process are not measured
        work(next(make_shards(1_000)))
        print(f"ready: {name}", end="\r", flush=True)
    turns, done = deque(workers), 0
    for shard in make_shards(arguments.rows):
        done += len(shard.event_ids)
        written = dict[str, list[bytes]]()
        turns.rotate()
        for name in turns:
            gc.collect()
            seconds[name] += _time(workers[name], shard, written, name)
        if written["transform"] != written["floor"]:
            print("The transform's bytes differ from the floor's, so there is nothing to compare.")
            return 1
        print(f"{done:,} of {arguments.rows:,} events", end="\r", flush=True)
    _print_result(seconds, arguments.rows)
    events, step_seconds = measure_step(min(arguments.rows, 2 * SHARD_ROWS))
    print(f"The whole step on PostgreSQL (read, build, compress, store): {events / step_seconds:,.0f} events/s")
    return 0


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--memory-of", choices=_CONTENDERS, help="used by the benchmark itself")
    return parser.parse_args()


def _time(work: Callable[[Shard], list[bytes]], shard: Shard, written: dict[str, list[bytes]], name: str) -> float:
    started = time.perf_counter()
    bodies = work(shard)
    seconds = time.perf_counter() - started
    if name != "SDK":
        written[name] = bodies
    return seconds


def _work_once(name: str) -> None:
    """Process a shard, and print its peak memory in MB, without the rows."""
    work = _CONTENDERS[name]()
    work(next(make_shards(1_000)))
    shard = next(make_shards(SHARD_ROWS))
    tracemalloc.start()
    work(shard)
    print(tracemalloc.get_traced_memory()[1] // 1_000_000)


def _peak_memory_mb(name: str) -> int:
    command = [sys.executable, str(Path(__file__).parent), "--memory-of", name]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _print_result(seconds: dict[str, float], events: int) -> None:
    speed = {name: events / seconds[name] for name in _CONTENDERS}
    times_sdk = speed["transform"] / speed["SDK"]
    times_floor = speed["floor"] / speed["transform"]
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} processors, one of them used")
    print(f"{'':<44}{'events':>11}{'seconds':>9}{'events/s':>10}{'memory':>10}")
    for name in ("SDK", "transform", "floor"):
        print(f"{_WORDS[name]:<44}{events:>11,}{seconds[name]:>9.1f}{speed[name]:>10,.0f}{_peak_memory_mb(name):>7} MB")
    print(f"Memory: the peak for a shard of {SHARD_ROWS:,} rows, with its bodies but without the rows.")
    print(f"Bytes: the transform's {events:,} events are the same as the floor's, byte for byte.")
    sdk_goal, floor_goal = _say(times_sdk >= _LEAST_TIMES_SDK), _say(times_floor <= _MOST_TIMES_FLOOR)
    print(f"{times_sdk:.1f} times the SDK's speed ({sdk_goal}: at least {_LEAST_TIMES_SDK})")
    print(f"{times_floor:.1f} times the floor's time ({floor_goal}: at most {_MOST_TIMES_FLOOR})")


def _say(is_reached: bool) -> str:  # noqa: FBT001 - a word for a yes or no
    return "goal reached" if is_reached else "goal missed"


if __name__ == "__main__":
    sys.exit(main())
