"""Processing: from entries of the log to committed chunks, with fresh and with known users."""

from __future__ import annotations

import functools
from pathlib import Path

from benchmarks import profiles
from benchmarks.generator import Generator, bodies
from benchmarks.journal import Journal
from benchmarks.paired import Figure, alternate, figure, ratios
from benchmarks.places import make_place
from benchmarks.processor import Bench, Spent
from benchmarks.report import Bar, progress
from tailrace.clock import SteppedClock
from tailrace.hours import HOUR_MICROS

EVENTS_A_REQUEST = 100
FRESH = "fresh users"
KNOWN = "known users"

BARS = [
    Bar(f"processing, {KNOWN}: events/s a core", 65_000, most=False, note="(an aim)"),
]


def measure(seed: int, now_micros: int, rounds: int, events: int, folder: Path) -> list[Figure]:
    """Process `events` events of never seen users, then as many of the same users, in turn."""
    progress("processing: fresh and known users")
    scene = _Scene(seed, now_micros, events, folder / "processing")
    try:
        sides = {name: functools.partial(scene.process, name) for name in (FRESH, KNOWN)}
        for warm_up in sides.values():
            warm_up()
        spent = alternate(sides, rounds)
    finally:
        scene.close()
    micros = {
        name: [one.seconds / events * 1e6 for one in values] for name, values in spent.items()
    }
    figures: list[Figure] = []
    for name, values in micros.items():
        commits = [one.checkpoints / events * 1e6 for one in spent[name]]
        figures += [
            figure(f"processing, {name}: CPU", "us/event", values),
            figure(f"processing, {name}: of that, checkpoints", "us/event", commits),
            figure(f"processing, {name}: events/s a core", "events/s", [1e6 / v for v in values]),
        ]
    both = ratios(micros[FRESH], micros[KNOWN])
    return [*figures, figure("processing: CPU, fresh / known users", "ratio", both)]


def profile(seed: int, now_micros: int, events: int, folder: Path, results: Path) -> list[Path]:
    """Process under the profiler, fresh and known users; return the texts."""
    progress("profile: processing")
    scene = _Scene(seed, now_micros, events, folder / "profiled-processing")
    texts = []
    try:
        for name in (FRESH, KNOWN):
            scene.send(name)
            spent, samples = profiles.sampled(scene.bench.process)
            title = f"processing, {name}: {spent.seconds / events * 1e6:.1f} us an event"
            texts.append(results / f"profile-process-{name.replace(' ', '-')}.txt")
            texts[-1].write_text(profiles.describe(samples, title))
    finally:
        scene.close()
    return texts


class _Scene:
    """One log and its processor; each call sends and processes new events."""

    def __init__(self, seed: int, now_micros: int, events: int, folder: Path) -> None:
        # A log that begins with an hour holds all rounds in that hour.
        clock = SteppedClock(now_micros // HOUR_MICROS * HOUR_MICROS)
        self._events = events
        self._source = Generator(seed, clock.now_micros())
        self._place = make_place(folder)
        self._journal = Journal(self._place, clock)
        self._users = range(0)
        self.bench = Bench(self._place, clock)

    def send(self, users: str) -> None:
        """Store a round's events in the log."""
        if users == FRESH:
            self._users = range(self._users.stop, self._users.stop + self._events)
            sent = self._source.one_each(self._users)
        else:
            sent = self._source.events(self._events, self._users)
        requests = bodies(self._place.api_key, sent, EVENTS_A_REQUEST)
        self._journal.append(requests, EVENTS_A_REQUEST)

    def process(self, users: str) -> Spent:
        """Store a round's events and return what processing them cost."""
        self.send(users)
        return self.bench.process()

    def close(self) -> None:
        """Give everything back."""
        self.bench.close()
        self._journal.close()
