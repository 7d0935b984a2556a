"""Processing beside a large state: a million users and ten, and 20 million dedupe keys.

What identity and properties cost an event, what each user takes, and how long a start takes.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from benchmarks import keys
from benchmarks.apart import Apart, Opened, draw_pages, forget_pages
from benchmarks.generator import bodies, device_of
from benchmarks.journal import Journal
from benchmarks.paired import Figure, alternate, figure, ratios
from benchmarks.places import make_place
from benchmarks.populate import populate
from benchmarks.population import Population
from benchmarks.processor import Spent
from benchmarks.report import Bar, progress
from benchmarks.size.sampling import MIB, Sampler
from tailrace.clock import SteppedClock
from tailrace.folder import DataFolder
from tailrace.hours import HOUR_MICROS
from tailrace.state.insertions import DAY_MICROS

FEW = 1_000_000
MANY = 10_000_000
_EVENTS_A_REQUEST = 100
# A smaller part is measured as this one: two thousand users, of whom enough can merge in a round.
_SCALE_MIN = 0.002
# Opened so often with the page cache empty, and as often with it full.
_OPENINGS = 3
_REMEMBERED = 50_000

EVENLY = "known users, drawn evenly"
ACTIVE = "known users, by activity"

# What is sent. A round of each kind goes before those that count, and fills the caches.
KINDS: dict[str, Callable[[Population, int], list[bytes]]] = {
    "users of just now, no properties": Population.lately_bare,
    "users of just now": Population.lately,
    EVENLY: Population.evenly,
    ACTIVE: Population.by_activity,
    "updates of two properties": Population.updating,
    "identifies": Population.identifying,
    "fresh users": Population.fresh,
    "merges": Population.merging,
}


def _name(users: int, kind: str) -> str:
    return f"beside {users:,} users: {kind}"


BARS = [
    Bar(f"{_name(FEW, EVENLY)}: rate", 65_000, most=False, note="(an aim)"),
    Bar(f"{_name(MANY, EVENLY)}: rate", 32_500, most=False, note="(half of that aim)"),
]


def measure(
    seed: int, now_micros: int, rounds: int, events: int, scale: float, folder: Path
) -> list[Figure]:
    """Process `events` events of each kind a round, beside either state in turn.

    A scale makes users, keys and events fewer alike; figures are named by the users there are.
    """
    size = _Size.of(scale, events)
    scenes: dict[int, _Scene] = {}
    figures: list[Figure] = []
    try:
        for users in (size.few, size.many):
            progress(f"processing: making a state of {users:,} users")
            place = folder / f"people-{users}"
            scenes[users] = scene = _Scene(seed, now_micros, users, size.key_count, place)
            figures += scene.sizes()
        for kind in KINDS:
            progress(f"processing: {kind}")
            figures += _processed(scenes, kind, rounds, size)
        figures += [
            figure(f"beside {users:,} users: RssAnon at the most", "MiB", [scene.peak / MIB])
            for users, scene in scenes.items()
        ]
    finally:
        for scene in scenes.values():
            scene.close()
    return figures


class _Size(msgspec.Struct, frozen=True):
    """How much there is: users of either state, dedupe keys beside each, events of a round."""

    few: int
    many: int
    key_count: int
    events: int

    @classmethod
    def of(cls, scale: float, events: int) -> _Size:
        part = max(scale, _SCALE_MIN)
        # Whole requests: each is said to hold as many events as all others.
        requests = max(1, int(events * part) // _EVENTS_A_REQUEST)
        return cls(
            few=int(FEW * part),
            many=int(MANY * part),
            key_count=int(keys.MANY * part),
            events=requests * _EVENTS_A_REQUEST,
        )


def _processed(scenes: Mapping[int, _Scene], kind: str, rounds: int, size: _Size) -> list[Figure]:
    events = size.events
    sides = {
        str(users): functools.partial(scene.process, kind, events)
        for users, scene in scenes.items()
    }
    for warm_up in sides.values():
        warm_up()
    spent = alternate(sides, rounds)
    micros = {users: [1e6 * one.seconds / events for one in spent[str(users)]] for users in scenes}
    figures = []
    for users, values in micros.items():
        commits = [1e6 * one.checkpoints / events for one in spent[str(users)]]
        name = _name(users, kind)
        figures += [
            figure(f"{name}: CPU", "us/event", values),
            figure(f"{name}: of that, checkpoints", "us/event", commits),
            figure(f"{name}: rate", "events/s a core", [1e6 / value for value in values]),
        ]
    both = ratios(micros[size.many], micros[size.few])
    return [*figures, figure(f"{kind}: CPU, {size.many:,} / {size.few:,} users", "ratio", both)]


class _Scene:
    """One data folder that knows many users already, and its processor."""

    def __init__(
        self, seed: int, now_micros: int, users: int, key_count: int, folder: Path
    ) -> None:
        self._clock = clock = SteppedClock(now_micros // HOUR_MICROS * HOUR_MICROS)
        self._population = Population(seed, clock.now_micros(), users)
        self._place = make_place(folder)
        self._database = DataFolder(folder).processing_database
        self._made = populate(self._database, self._place, self._population)
        keys.fill(self._database, key_count, last_day=clock.now_micros() // DAY_MICROS)
        self._journal = Journal(self._place, clock)
        self._cold = [self._open_cold() for _ in range(_OPENINGS)]
        draw_pages(self._database)
        self._warm = [self._open() for _ in range(_OPENINGS)]
        self._apart = Apart(self._place, clock.now_micros())
        self.peak = 0

    def _open_cold(self) -> Opened:
        forget_pages(self._database)
        return self._open()

    def _open(self) -> Opened:
        with Apart(self._place, self._clock.now_micros()) as apart:
            return apart.opened

    def sizes(self) -> list[Figure]:
        """Return what the state takes on disk and in memory, and how long it takes to open it."""
        made, users = self._made, self._population.users
        figures = [
            figure(
                f"beside {users:,} users: making one of them, CPU",
                "us/user",
                [1e6 * made.seconds / users],
            ),
            figure(
                f"beside {users:,} users: disk, all tables",
                "bytes/user",
                [sum(made.table_bytes.values()) / users],
            ),
        ]
        for table in ("device", "user", "identity", "person", "user_property"):
            size = made.table_bytes[table] / users
            figures.append(
                figure(f"beside {users:,} users: disk, table {table}", "bytes/user", [size])
            )
        chance = random.Random(users)
        numbers = chance.sample(range(users), min(_REMEMBERED, users))
        remembered = self._apart.remember([device_of(number) for number in numbers])
        return [
            *figures,
            figure(
                f"beside {users:,} users: memory",
                "bytes/user",
                [remembered.taken / remembered.users],
            ),
            *_opened(users, "an empty page cache", self._cold),
            *_opened(users, "a full page cache", self._warm),
        ]

    def process(self, kind: str, events: int) -> Spent:
        """Store a round's events and return what processing them cost."""
        sent = KINDS[kind](self._population, events)
        requests = bodies(self._place.api_key, sent, _EVENTS_A_REQUEST)
        self._journal.append(requests, _EVENTS_A_REQUEST)
        with Sampler({"processor": self._apart.pid}) as sampler:
            spent = self._apart.process(self._clock.now_micros())
        self.peak = max(self.peak, sampler.peaks["processor"].anonymous)
        return spent

    def close(self) -> None:
        """Give everything back."""
        self._journal.close()
        self._apart.__exit__(None, None, None)


def _opened(users: int, cache: str, opened: list[Opened]) -> list[Figure]:
    name = f"beside {users:,} users: open, {cache}"
    return [
        figure(f"{name}, wall clock", "ms", [1e3 * one.wall for one in opened]),
        figure(f"{name}, CPU", "ms", [1e3 * one.cpu for one in opened]),
    ]
