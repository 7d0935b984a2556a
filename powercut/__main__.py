"""The long form: every step of the workload, then every sync left out; prints both tables."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

import msgspec

from powercut.cuts import NOTHING, Cut
from powercut.leaving_out import SQLITE
from powercut.needed import KEPT
from powercut.quiet import be_quiet
from powercut.replay import Step
from powercut.service import use_small_sizes
from powercut.sites import sync_sites
from powercut.survey import Judge, Report, survey
from powercut.tracing import trace

MEMORY = Path("/dev/shm")  # syncs cost nothing there, and it is left clean

# Of an error, for a table that can be read.
ERROR_CHARACTERS = 300


class Choice(msgspec.Struct, frozen=True):
    """What the command line asks for."""

    seed: int
    only: str
    removals_only: bool


def main() -> int:
    """Run the surveys; return 1 if a promise broke, or if a sync that was left out broke none."""
    options = argparse.ArgumentParser(prog="powercut", description=__doc__)
    options.add_argument("--seed", type=int, default=1, help="of the cuts by chance")
    options.add_argument("--only", default="", help="leave out only the sites with this text")
    options.add_argument(
        "--removals-only", action="store_true", help="take what all syncs leave for sound"
    )
    choice = Choice(**vars(options.parse_args()))
    be_quiet()
    use_small_sizes()
    scratch = Path(tempfile.mkdtemp(prefix="powercut-", dir=MEMORY if MEMORY.is_dir() else None))
    try:
        return 1 if _run(scratch, choice) else 0
    finally:
        shutil.rmtree(scratch)


def _run(scratch: Path, choice: Choice) -> int:
    """Return how many promises broke, and how many syncs are not as `needed.py` says."""
    traced = trace(scratch / "traced")
    judge = Judge(scratch / "recovered")
    seed, wrong = choice.seed, 0
    if choice.removals_only:
        judge.take_for_sound(traced, seed)
    else:
        report = survey(traced, judge, seed=seed)
        wrong = report.failed
        _say(
            f"all syncs: {report.steps} steps, {report.cuts} cuts, {report.tried} tried, "
            f"{report.failed} broke a promise"
        )
        for failure in report.failures:
            _say(f"  {failure}")
    for site in sync_sites():
        if choice.only in site:
            without = survey(traced, judge, seed=seed, without=site, failures_max=1)
            wrong += _tell(site, without)
    for site in SQLITE:
        if choice.only in site:
            relaxed = trace(scratch / site.replace(" ", "-"), without=site)
            report = survey(relaxed, judge, seed=seed, failures_max=1, wanted=_at_promises)
            wrong += _tell(site, report)
    return wrong


def _at_promises(step: Step, cut: Cut, picking: random.Random) -> bool:
    # What SQLite did not sync stays unsynced for long, so the moments of a promise show it.
    return step.mark is not None and cut.name == NOTHING


def _tell(site: str, report: Report) -> int:
    """Print what happened without a sync; return 1 if it is not what is known of it."""
    asked = f"asked {report.asked[site]} times, {report.tried} tried" if report.asked[site] else ""
    if report.failures:
        _say(f"without {site}: {str(report.failures[0])[:ERROR_CHARACTERS]}")
        return 1 if site in KEPT else 0
    _say(f"without {site} ({asked or 'never asked'}): nothing breaks; {KEPT.get(site, 'WHY?')}")
    return 0 if site in KEPT else 1


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
