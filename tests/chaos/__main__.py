"""Play many rounds: `make chaos ROUNDS=500 SEED=1` prints a line for each round and a table at the end."""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import TYPE_CHECKING

from harness import Report
from jobs import play_all

from crm_to_meta_demo.terminal import end_on_sigterm

if TYPE_CHECKING:
    from collections import Counter


def main() -> None:
    """Play the rounds. The exit code is 1 if a law was broken."""
    parser = argparse.ArgumentParser(prog="chaos", description="Tests the laws by rounds of seeded chaos.")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1, help="seed of the first round; each next round adds one")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="rounds in parallel")
    parser.add_argument("--until-broken", action="store_true", help="stop after the first round that breaks a law")
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + options.rounds)
    began, total, failed = time.monotonic(), Report(), []
    for seed, report, seconds in play_all(seeds, jobs=min(options.jobs, options.rounds)):
        total.add(report)
        failed += [seed] if report.broken else []
        _print_round(seed, report, seconds)
        if failed and options.until_broken:
            break
    _print_table(total, sorted(failed), time.monotonic() - began)
    sys.exit(bool(failed))


def _print_round(seed: int, report: Report, seconds: float) -> None:
    figures = report.figures
    result = "BROKEN" if report.broken else "ok"
    _say(
        f"seed {seed:<6} {result:<7} {figures['workers']:>3} workers {report.kills.total():>3} kills "
        f"{report.faults.total():>4} faults {figures['delivered']:>4} delivered {figures['in_doubt']:>4} in doubt "
        f"{figures['resent']:>4} resent {seconds:>5.1f} s"
    )
    for line in report.broken[:10]:
        _say(f"    {line}")


def _print_table(total: Report, failed: list[int], seconds: float) -> None:
    _say("")
    for name, value in (
        ("rounds", f"{total.rounds} in {seconds:.0f} s"),
        ("acts", _listed(total.acts)),
        ("kills", _listed(total.kills)),
        ("faults", _listed(total.faults)),
        ("errors raised", _listed(total.errors)),
        ("outcome", _listed(total.figures)),
        ("failed seeds", ", ".join(map(str, failed)) or "none"),
    ):
        _say(f"{name:<14} {value}")
    if failed:
        _say(f"To repeat the first: make chaos ROUNDS=1 SEED={failed[0]}")


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.most_common()) or "none"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    end_on_sigterm()  # ends the current rounds and their servers
    main()
