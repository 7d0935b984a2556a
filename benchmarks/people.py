"""Processing beside a large state: a million users and ten, and 20 million dedupe keys.

The state is written straight into the tables, as commits over a long time would leave it.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

from benchmarks import keys
from benchmarks.generator import (
    PROFILES,
    Generator,
    bodies,
    device_of,
    profile_of,
    properties_of,
    user_of,
)
from benchmarks.journal import Journal
from benchmarks.paired import Figure, alternate, figure
from benchmarks.places import Place, make_place
from benchmarks.processor import Bench
from benchmarks.report import Bar, progress
from tailrace.clock import SteppedClock
from tailrace.folder import DataFolder
from tailrace.hours import HOUR_MICROS
from tailrace.ids import SystemIds
from tailrace.process.person import NO_DEVICE, NO_PLACE, device_set, place_set
from tailrace.process.sets import Sets
from tailrace.state.insertions import DAY_MICROS
from tailrace.state.processing import FIRST_AMPLITUDE_ID, ProcessingStore
from tailrace.upload import UploadEvent

FEW = 1_000_000
MANY = 10_000_000
_EVENTS_A_REQUEST = 100
_FIRST_SEEN_MICROS = 1_700_000_000_000_000


def _name(users: int) -> str:
    return f"processing beside {users:,} users and {keys.MANY:,} keys: events/s a core"


BARS = [
    Bar(_name(FEW), 65_000, most=False, note="(an aim)"),
    Bar(_name(MANY), 32_500, most=False, note="(half of that aim)"),
]


def measure(seed: int, now_micros: int, rounds: int, events: int, folder: Path) -> list[Figure]:
    """Process `events` events a round, of users drawn from all, beside either state in turn."""
    scenes = {}
    for users in (FEW, MANY):
        progress(f"processing: making a state of {users:,} users")
        scenes[users] = _Scene(seed, now_micros, users, events, folder / f"people-{users}")
    try:
        spent = alternate({str(users): scene.process for users, scene in scenes.items()}, rounds)
    finally:
        for scene in scenes.values():
            scene.close()
    return [
        figure(_name(users), "events/s", [events / seconds for seconds in spent[str(users)]])
        for users in scenes
    ]


class _Scene:
    """One data folder that knows many users already."""

    def __init__(self, seed: int, now_micros: int, users: int, events: int, folder: Path) -> None:
        clock = SteppedClock(now_micros // HOUR_MICROS * HOUR_MICROS)
        self._users = range(users)
        self._events = events
        self._place = make_place(folder)
        database = DataFolder(folder).processing_database
        _fill(database, self._place, users)
        keys.fill(database, keys.MANY, last_day=clock.now_micros() // DAY_MICROS)
        self._source = Generator(seed, clock.now_micros())
        self._journal = Journal(self._place, clock)
        self._bench = Bench(self._place, clock)
        # The first round draws the tables into the page cache.
        self.process()

    def process(self) -> float:
        """Store a round's events and return the CPU seconds of processing them."""
        sent = self._source.events(self._events, self._users)
        requests = bodies(self._place.api_key, sent, _EVENTS_A_REQUEST)
        self._journal.append(requests, _EVENTS_A_REQUEST)
        return self._bench.process().seconds

    def close(self) -> None:
        """Give everything back."""
        self._journal.close()
        self._bench.close()


def _fill(database: Path, place: Place, users: int) -> None:
    store = ProcessingStore.open(database, SystemIds())
    try:
        with store.transaction() as connection:
            _insert(connection, place, users)
            store.set_meta("next_amplitude_id", FIRST_AMPLITUDE_ID + users)
    finally:
        store.close()


def _fields() -> list[tuple[str | None, ...]]:
    """Return what the last event of a user left, by the user's number within `PROFILES`."""
    devices, places = Sets(NO_DEVICE), Sets(NO_PLACE)
    events = [
        msgspec.convert({"event_type": "", **profile_of(number)}, UploadEvent)
        for number in range(PROFILES)
    ]
    return [
        (
            devices.text_of(device_set(event)),
            places.text_of(place_set(event)),
            event.language,
            event.app_version,
        )
        for event in events
    ]


def _insert(connection: sqlite3.Connection, place: Place, users: int) -> None:
    """Insert in the order of each table's key: any other takes many times as long."""
    organization, first = place.organization, FIRST_AMPLITUDE_ID
    fields = _fields()
    connection.execute("CREATE TEMP TABLE made (device_id, number)")
    devices = ((device_of(number), number) for number in range(users))
    connection.executemany("INSERT INTO made VALUES (?, ?)", devices)
    named = [number for number in range(users) if user_of(number)]
    connection.execute("CREATE TEMP TABLE named (number INTEGER PRIMARY KEY)")
    connection.executemany("INSERT INTO named VALUES (?)", ((number,) for number in named))
    connection.execute(
        "INSERT INTO device SELECT ?, device_id, number + ?, "
        "number NOT IN (SELECT number FROM named) FROM made ORDER BY device_id",
        (organization, first),
    )
    connection.executemany(
        "INSERT INTO user VALUES (?, ?, ?)",
        ((organization, user_of(number), number + first) for number in named),
    )
    connection.executemany(
        "INSERT INTO identity VALUES (?, ?, ?)",
        ((number + first, organization, user_of(number)) for number in range(users)),
    )
    connection.executemany(
        "INSERT INTO person VALUES (?, ?, ?, '5.0.1', NULL, ?, ?, ?, ?, NULL)",
        (
            (number + first, place.project, _FIRST_SEEN_MICROS, *fields[number % PROFILES])
            for number in range(users)
        ),
    )
    connection.executemany(
        "INSERT INTO user_property VALUES (?, ?, ?)",
        (
            (number + first, place.project, msgspec.json.encode(properties_of(number)))
            for number in range(users)
            if properties_of(number)
        ),
    )
    connection.execute("DROP TABLE made")
    connection.execute("DROP TABLE named")
