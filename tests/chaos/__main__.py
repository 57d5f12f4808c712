"""Long runs: `make chaos ROUNDS=500 SEED=1` prints a line for each round and a table at the end."""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from harness import Report, Server, play_round

from demo.meta_stand_in.testing import running_stand_in

if TYPE_CHECKING:
    from collections import Counter


def main() -> None:
    """Play the rounds; the exit code is 1 where a law was broken."""
    parser = argparse.ArgumentParser(prog="chaos", description="Proves the laws by rounds of seeded chaos.")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1, help="of the first round; the next one's is one more")
    options = parser.parse_args()
    total, failed = Report(), []
    with TemporaryDirectory(prefix="pg-") as folder, running_stand_in() as stand_in:
        server = Server(Path(folder) / "data")
        try:
            for seed in range(options.seed, options.seed + options.rounds):
                started = time.monotonic()
                report = play_round(server, stand_in, seed, now=datetime.now(UTC))
                total.add(report)
                failed += [seed] if report.broken else []
                _print_round(seed, report, time.monotonic() - started)
        finally:
            server.stop()
    _print_table(total, failed)
    sys.exit(bool(failed))


def _print_round(seed: int, report: Report, seconds: float) -> None:
    figures = report.figures
    verdict = "BROKEN" if report.broken else "ok"
    _say(
        f"seed {seed:<6} {verdict:<7} {figures['workers']:>3} workers {report.kills.total():>3} kills "
        f"{report.faults.total():>4} faults {figures['delivered']:>4} delivered {figures['in_doubt']:>4} in doubt "
        f"{figures['resent']:>4} resent {seconds:>5.1f} s"
    )
    for line in report.broken[:10]:
        _say(f"    {line}")


def _print_table(total: Report, failed: list[int]) -> None:
    _say("")
    for name, value in (
        ("rounds", str(total.rounds)),
        ("kills", _listed(total.kills)),
        ("faults", _listed(total.faults)),
        ("errors raised", _listed(total.errors)),
        ("outcome", _listed(total.figures)),
        ("failed seeds", ", ".join(map(str, failed)) or "none"),
    ):
        _say(f"{name:<14} {value}")
    if failed:
        _say(f"Again: make chaos ROUNDS=1 SEED={failed[0]}")


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.most_common()) or "none"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
