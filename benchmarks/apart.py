"""A processor in a process of its own, so that memory and CPU seconds are its alone.

A program: `python -m benchmarks.apart PLACE NOW`. It opens the place's state and answers each line
of its input, `process NOW` or `remember DEVICES`, with a line of JSON.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import msgspec

from benchmarks.children import Child
from benchmarks.places import Place
from benchmarks.processor import Bench, Spent
from benchmarks.size.sampling import MIB, resident_bytes
from tailrace.clock import SteppedClock
from tailrace.folder import DataFolder
from tailrace.ids import SystemIds
from tailrace.process.identity import Identity
from tailrace.process.persons import Persons
from tailrace.state.processing import ProcessingStore

# More than any cache that is to keep all it is given.
_ENDLESS = 2**40
# Looked up at once, as by a processor.
_BATCH = 2_000
_BLOCK_BYTES = 4 * MIB


class Opened(msgspec.Struct, frozen=True):
    """What opening took, in seconds: of a clock, and of CPU."""

    wall: float
    cpu: float


class Remembered(msgspec.Struct, frozen=True):
    """So many users were brought into memory, and so many anonymous bytes came with them."""

    users: int
    taken: int


class Apart(Child):
    """The parent's side: a processor that runs in a child."""

    def __init__(self, place: Place, now_micros: int) -> None:
        arguments = (msgspec.json.encode(place, enc_hook=str).decode(), str(now_micros))
        super().__init__("processor", "benchmarks.apart", *arguments)
        self.opened = msgspec.json.decode(self.first, type=Opened)

    def process(self, now_micros: int) -> Spent:
        """Process and commit all that the log holds at a time."""
        return msgspec.json.decode(self.ask(f"process {now_micros}"), type=Spent)

    def remember(self, devices: list[str]) -> Remembered:
        """Bring users into caches without an end, by their devices, and say what that takes."""
        asked = self.ask(f"remember {msgspec.json.encode(devices).decode()}")
        return msgspec.json.decode(asked, type=Remembered)


def forget_pages(database: Path) -> None:
    """Let the system's page cache forget a database that nobody has open, as after its start."""
    with database.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def draw_pages(database: Path) -> None:
    """Read a database through, so that the page cache holds as much of it as it can."""
    with database.open("rb", buffering=0) as file:
        while file.read(_BLOCK_BYTES):
            pass


def _remember(place: Place, devices: list[str]) -> Remembered:
    store = ProcessingStore.open(DataFolder(place.path).processing_database, SystemIds())
    try:
        identity = Identity(store.connection, store.meta_number("next_amplitude_id"), _ENDLESS)
        persons = Persons(store.connection, _ENDLESS)
        persons.begin_batch(identity.next_amplitude_id)
        before = _anonymous()
        for at in range(0, len(devices), _BATCH):
            batch = devices[at : at + _BATCH]
            found, _ = identity.look_up(place.organization, batch, [None] * len(batch))
            persons.look_up(place.project, found)
        return Remembered(len(persons.known(place.project)), _anonymous() - before)
    finally:
        store.close()


def _anonymous() -> int:
    return resident_bytes(os.getpid())[0]


def main() -> None:
    """Open the state, then obey until the input ends."""
    place = msgspec.json.decode(sys.argv[1], type=Place, dec_hook=lambda kind, text: kind(text))
    clock = SteppedClock(int(sys.argv[2]))
    cpu, wall = time.process_time(), time.monotonic()
    bench = Bench(place, clock)
    opened = Opened(time.monotonic() - wall, time.process_time() - cpu)
    _say(opened)
    try:
        for line in sys.stdin:
            word, _, rest = line.strip().partition(" ")
            if word == "process":
                clock.advance(int(rest) - clock.now_micros())
                _say(bench.process())
            elif word == "remember":
                _say(_remember(place, msgspec.json.decode(rest, type=list[str])))
            else:
                return
    finally:
        bench.close()


def _say(answer: msgspec.Struct) -> None:
    print(msgspec.json.encode(answer).decode(), flush=True)


if __name__ == "__main__":
    main()
