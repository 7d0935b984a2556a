"""Dedupe keys: what a look-up costs beside few, 20 million and several hundred million of them.

The made store holds random keys in files of a day each, as merges leave them. It takes 25 bytes a
key of disk, and goes with the measure's folder.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.paired import Figure, alternate, figure
from benchmarks.report import progress
from tailrace.files import Files
from tailrace.ids import SystemIds
from tailrace.state.insertions import DAY_MICROS, Insertions
from tailrace.state.processing import ProcessingStore
from tailrace.state.sorted_run import Layout, Words, run_of

MANY = 20_000_000
MOST = 300_000_000
_DAYS = 7
_LAST_DAY = 20_000
# What a batch asks for, and what a checkpoint adds.
_ASKED = 4_000
_ADDED = 36_000
_REPEATED_OF = 100


class _Made:
    """A day's random keys, slice by slice, the same at each reading."""

    def __init__(self, day: int, keys: int) -> None:
        self.layout = Layout.of(keys)
        self.keys = keys >> self.layout.slice_bits << self.layout.slice_bits
        self.day = day

    def rows(self, part: int) -> Words:
        chance = np.random.default_rng((self.day, part))
        bits = np.uint64(self.layout.slice_bits)
        words = chance.integers(0, 2**64, size=(self.keys >> int(bits), 3), dtype=np.uint64)
        if bits:
            words[:, 0] = (words[:, 0] >> bits) | (np.uint64(part) << (np.uint64(64) - bits))
        words[:, 2] = np.uint64(self.day * DAY_MICROS)
        return words[np.argsort(words[:, 0])]


def fill(database: Path, keys: int, last_day: int) -> list[_Made]:
    """Put about so many keys into a processing database, a seventh for each of seven days."""
    store = ProcessingStore.open(database, SystemIds())
    days = [_Made(last_day - _DAYS + 1 + day, keys // _DAYS) for day in range(_DAYS)]
    files = Files()
    try:
        files.make_folder(store.keys_folder)
        with store.transaction() as connection:
            for made in days:
                name = f"00000000-{made.day:08d}.keys"
                stamp = made.day * DAY_MICROS
                pieces = run_of([made], made.keys, stamp, stamp)
                files.put_whole(store.keys_folder / name, pieces)
                connection.execute(
                    "INSERT INTO dedupe_run (day, file) VALUES (?, ?)", (made.day, name)
                )
    finally:
        store.close()
    return days


class _Store:
    """A processing database with `keys` made keys."""

    def __init__(self, folder: Path, keys: int) -> None:
        database = folder / "processing.sqlite"
        self._chance = random.Random(keys)
        self._days = fill(database, keys, _LAST_DAY) if keys else []
        self._store = ProcessingStore.open(database, SystemIds())
        self._insertions = Insertions(
            self._store.connection, self._store.keys_folder, Files(), epoch=1
        )
        self._stamp = (_LAST_DAY + 1) * DAY_MICROS
        self.keys = sum(made.keys for made in self._days)
        there = self._store.keys_folder.iterdir() if self._days else ()
        self._sizes = sum(path.stat().st_size for path in there)

    @property
    def bytes_a_key(self) -> float:
        return self._sizes / self.keys

    def _batch(self) -> list[bytes]:
        return [self._chance.randbytes(16) for _ in range(_ASKED)]

    def repeats(self) -> Iterator[bytes]:
        """Yield some keys that are there."""
        for made in self._days:
            rows = made.rows(self._chance.randrange(1 << made.layout.slice_bits))
            for row in rows[:: max(1, len(rows) // (_ASKED // _REPEATED_OF))]:
                yield row[:2].tobytes()

    def check(self) -> None:
        """Raise unless made keys are found, and others are not."""
        there = list(self.repeats())
        found = self._insertions.find([*there, *self._batch()])
        if set(found) != set(there):
            raise RuntimeError(f"{len(there)} keys are there, {len(found)} were found.")

    def round(self) -> tuple[float, float]:
        """Return CPU seconds a key: of looking up batches of new keys, and of adding them."""
        batches = [self._batch() for _ in range(_ADDED // _ASKED)]
        new = {key: self._stamp for batch in batches for key in batch}
        began = time.process_time()
        for batch in batches:
            self._insertions.find(batch)
        looked = time.process_time()
        self._stamp += 1
        with self._store.transaction() as connection:
            self._insertions.write(connection, new, last_stamp=self._stamp, older_than=0)
        self._insertions.saved()
        return (looked - began) / len(new), (time.process_time() - looked) / len(new)

    def close(self) -> None:
        """Give everything back."""
        self._insertions.close()
        self._store.close()


def measure(rounds: int, most: int, folder: Path) -> list[Figure]:
    """Look up and add keys beside none, 20 million and `most` keys, in turn."""
    stores: dict[int, _Store] = {}
    for keys in sorted({0, min(MANY, most), most}):
        progress(f"dedupe: making a store of {keys:,} keys")
        place = folder / f"keys-{keys}"
        place.mkdir(parents=True)
        stores[keys] = _Store(place, keys)
    try:
        for store in stores.values():
            store.check()
        sides = {f"{keys:,}": store.round for keys, store in stores.items()}
        spent = alternate(sides, rounds)
    finally:
        for store in stores.values():
            store.close()
    figures = []
    for name, values in spent.items():
        find, add = ([1e6 * value for value in column] for column in zip(*values, strict=True))
        figures.append(figure(f"dedupe beside {name} keys: look-up", "us/key", find))
        figures.append(figure(f"dedupe beside {name} keys: commit and merges", "us/key", add))
    largest = stores[most]
    figures.append(figure("dedupe: disk", "bytes/key", [largest.bytes_a_key]))
    return figures
