"""`make torture`: live through hundreds of kills, and prove from the buckets that all is right."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tailrace.ids import SystemIds
from torture.report import table
from torture.run import Options, end_on_a_signal, torture

BEGAN = time.monotonic()
KILLS = 1000
# An hour of the service in fifteen seconds.
RATE = 240
SECONDS_PER_KILL_MAX = 6.0
SECONDS_MIN = 120.0


def main() -> None:
    """Run once as the options say; the exit code is 1 if anything is wrong."""
    given = _parser().parse_args()
    end_on_a_signal()
    seed = given.seed
    if seed is None:
        seed = int.from_bytes(SystemIds().random_bytes(4), "big")
    _tell(f"seed {seed}, {given.kills} kills, {given.rate} times as fast as the machine's clock")
    options = Options(
        kills=given.kills,
        seed=seed,
        rate=given.rate,
        seconds_max=given.seconds or SECONDS_MIN + given.kills * SECONDS_PER_KILL_MAX,
        source=given.source,
        births=2 if given.kills >= KILLS else 1,
        long=given.kills >= KILLS,
    )
    result = torture(options, _tell)
    print(table(result))
    sys.exit(1 if result.faults else 0)


def _tell(line: str) -> None:
    print(f"{time.monotonic() - BEGAN:6.0f} s  {line}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m torture", description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS, help=f"how many (default: {KILLS})")
    parser.add_argument("--seed", type=int, help="choose as an earlier run did (default: drawn)")
    parser.add_argument("--rate", type=int, default=RATE, help="how fast time runs")
    parser.add_argument("--seconds", type=float, help="kill no longer, however few died")
    parser.add_argument("--source", type=Path, help="another copy of src, such as a broken one")
    return parser


if __name__ == "__main__":
    main()
