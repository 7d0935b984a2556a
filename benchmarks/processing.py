"""Processing: from entries of the log to committed chunks, with fresh and with known users."""

from __future__ import annotations

import functools
from pathlib import Path

from benchmarks import profiles
from benchmarks.generator import Generator, bodies, browser_of
from benchmarks.journal import Journal
from benchmarks.paired import Figure, alternate, figure, ratios
from benchmarks.places import make_place
from benchmarks.processor import Bench, Spent
from benchmarks.report import Bar, progress
from tailrace.clock import SteppedClock
from tailrace.hours import HOUR_MICROS

EVENTS_A_REQUEST = 100
# Users of browsers have numbers that nobody else has.
_FIRST_OF_BROWSERS = 10_000_000
FRESH = "fresh users"
KNOWN = "known users"
BROWSERS = "known users of browsers"

BARS = [
    Bar(f"processing, {KNOWN}: events/s a core", 65_000, most=False, note="(an aim)"),
]


def measure(seed: int, now_micros: int, rounds: int, events: int, folder: Path) -> list[Figure]:
    """Process `events` events of never seen users, as many of the same users, and as many of
    others whose devices are told by user agents alone, in turn.
    """
    progress("processing: fresh users, known users, and known users of browsers")
    scene = _Scene(seed, now_micros, events, folder / "processing")
    try:
        sides = {name: functools.partial(scene.process, name) for name in (FRESH, KNOWN, BROWSERS)}
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
    agents = ratios(micros[BROWSERS], micros[KNOWN])
    return [
        *figures,
        figure("processing: CPU, fresh / known users", "ratio", both),
        figure("processing: CPU, users of browsers / known users", "ratio", agents),
    ]


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
        self._browsers = Generator(seed, clock.now_micros(), browser_of)
        self._place = make_place(folder)
        self._journal = Journal(self._place, clock)
        self._users = range(0)
        self._browser_users = range(_FIRST_OF_BROWSERS, _FIRST_OF_BROWSERS + events)
        self._met = False
        self.bench = Bench(self._place, clock)

    def send(self, users: str) -> None:
        """Store a round's events in the log."""
        if users == FRESH:
            self._users = range(self._users.stop, self._users.stop + self._events)
            sent = self._source.one_each(self._users)
        elif users == BROWSERS:
            # They are known from the first, untimed round on.
            source, who = self._browsers, self._browser_users
            sent = source.events(self._events, who) if self._met else source.one_each(who)
            self._met = True
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
