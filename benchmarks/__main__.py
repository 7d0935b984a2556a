"""`make bench`: run the measures, print a table, write `bench-results/*.json`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks import delivery, ingest, journey, keys, pages, peers, people, processing, report
from benchmarks.paired import ROUNDS_MIN, Figure
from benchmarks.places import touch_memory
from benchmarks.report import Bar
from benchmarks.size import backlog, hours, past, quiet
from tailrace.clock import SystemClock

SEED = 20200125
# Events of one round of processing: about a second of CPU, and what fits in a minute's run.
EVENTS = 50_000
EVENTS_QUICK = 10_000
# Of ingest's requests a quick run sends this part.
SHARE_QUICK = 0.2
RESULTS = Path("bench-results")


class Run(msgspec.Struct, frozen=True):
    """What the options ask for."""

    now_micros: int
    rounds: int
    events: int
    share: float
    scale: float
    folder: Path


Measure = Callable[[Run], tuple[list[Figure], list[str]]]


def _ingest(run: Run) -> tuple[list[Figure], list[str]]:
    return ingest.measure(SEED, run.now_micros, run.rounds, run.share, run.folder), []


def _process(run: Run) -> tuple[list[Figure], list[str]]:
    return processing.measure(SEED, run.now_micros, run.rounds, run.events, run.folder), []


def _journey(run: Run) -> tuple[list[Figure], list[str]]:
    return journey.measure(SEED, run.now_micros, run.rounds, run.events, run.folder)


def _deliver(run: Run) -> tuple[list[Figure], list[str]]:
    # A file of full size takes a local server seconds: not in a quick run.
    sizes = delivery.SIZES if run.share == 1 else delivery.SIZES[:1]
    return delivery.measure(SEED, run.rounds, sizes, run.folder)


def _quiet(run: Run) -> tuple[list[Figure], list[str]]:
    return quiet.measure(SEED, run.now_micros, run.scale, run.folder)


def _backlog(run: Run) -> tuple[list[Figure], list[str]]:
    return backlog.measure(SEED, run.now_micros, run.scale, run.folder)


def _manual(run: Run) -> tuple[list[Figure], list[str]]:
    return past.measure_kills(SEED, run.now_micros, run.scale, run.folder)


def _beside(run: Run) -> tuple[list[Figure], list[str]]:
    return past.measure_beside(SEED, run.now_micros, run.scale, run.folder)


def _pages(run: Run) -> tuple[list[Figure], list[str]]:
    return pages.measure(run.now_micros, run.share, run.folder)


def _peers(run: Run) -> tuple[list[Figure], list[str]]:
    quick = run.share != 1
    events, rounds = (peers.EVENTS_QUICK, 1) if quick else (peers.EVENTS, peers.ROUNDS)
    return peers.measure(SEED, run.now_micros, rounds, events, run.folder)


def _even(run: Run) -> tuple[list[Figure], list[str]]:
    return hours.measure_even(SEED, run.now_micros, run.scale, run.folder)


def _late(run: Run) -> tuple[list[Figure], list[str]]:
    return hours.measure_late(SEED, run.now_micros, run.scale, run.folder)


def _keys(run: Run) -> tuple[list[Figure], list[str]]:
    return keys.measure(run.rounds, int(keys.MOST * run.scale), run.folder), []


def _people(run: Run) -> tuple[list[Figure], list[str]]:
    found = people.measure(SEED, run.now_micros, run.rounds, run.events, run.scale, run.folder)
    return found, []


def _many(run: Run) -> tuple[list[Figure], list[str]]:
    return hours.measure_many(SEED, run.now_micros, run.scale, run.folder)


MEASURES: dict[str, tuple[Measure, list[Bar]]] = {
    "ingest": (_ingest, ingest.BARS),
    "process": (_process, processing.BARS),
    "journey": (_journey, journey.BARS),
    "delivery": (_deliver, delivery.BARS),
    "peers": (_peers, peers.BARS),
    "pages": (_pages, pages.BARS),
}
# Only when asked for, by name or all as `size`: they take most of an hour.
SIZES: dict[str, tuple[Measure, list[Bar]]] = {
    "size-even": (_even, hours.BARS[hours.EVEN]),
    "size-late": (_late, hours.BARS[hours.LATE]),
    "size-quiet": (_quiet, quiet.BARS),
    "size-backlog": (_backlog, backlog.BARS),
    "size-manual": (_manual, past.KILLS_BARS),
    "size-beside": (_beside, past.BESIDE_BARS),
    "size-projects": (_many, hours.BARS[hours.MANY]),
    "size-keys": (_keys, []),
    "size-people": (_people, people.BARS),
}
ALL = MEASURES | SIZES


def main() -> None:
    """Measure what the options name; the bars are printed, and missing one is no failure."""
    given = _parser().parse_args()
    clock = SystemClock()
    figures: list[Figure] = []
    remarks: list[str] = []
    names = _names(given.only)
    with tempfile.TemporaryDirectory(prefix="tailrace-bench-", dir=given.folder) as folder:
        run = Run(
            now_micros=clock.now_micros(),
            rounds=ROUNDS_MIN,
            events=EVENTS_QUICK if given.quick else EVENTS,
            share=SHARE_QUICK if given.quick else 1.0,
            scale=given.scale,
            folder=Path(folder),
        )
        report.progress("touching the memory that the page cache will use")
        touch_memory(run.folder)
        if given.profile:
            _profile(run, names)
            return
        for name in names:
            found, said = ALL[name][0](run)
            figures += found
            remarks += said
    bars = [bar for name in names for bar in ALL[name][1]]
    done = report.Report(report.taken_at(clock), report.machine(), figures, bars, remarks)
    print(report.table(done))
    print(f"\nwritten to {report.write(done, RESULTS)}")


def _names(only: str | None) -> list[str]:
    if only == "size":
        return list(SIZES)
    return [only] if only else list(MEASURES)


def _profile(run: Run, names: list[str]) -> None:
    RESULTS.mkdir(exist_ok=True)
    texts: list[Path] = []
    if "ingest" in names:
        texts += ingest.profile(SEED, run.now_micros, run.folder, RESULTS)
    if "process" in names:
        texts += processing.profile(SEED, run.now_micros, run.events, run.folder, RESULTS)
    if not texts:
        sys.exit("Nothing to profile: --profile goes with ingest and process.")
    for text in texts:
        print(f"written to {text}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller rounds, under a minute")
    parser.add_argument("--only", choices=[*ALL, "size"], help="one measure instead of all")
    parser.add_argument("--scale", type=float, default=1.0, help="size: a part of the full load")
    parser.add_argument("--profile", action="store_true", help="profile the hot paths instead")
    parser.add_argument("--folder", help="a folder on the disk to measure (default: TMPDIR)")
    return parser


if __name__ == "__main__":
    main()
