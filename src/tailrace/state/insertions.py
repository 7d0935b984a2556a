"""`Insertions`: the dedupe keys of the last seven days, as sorted runs that are merged as they age.

A row of `dedupe_run` is a run, with its bytes while it is small and with the name of its file when
it is large. Runs change with the processor's commits alone. Called by `process`.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import msgspec
import numpy as np

from tailrace.files import Files
from tailrace.state.sorted_run import SortedRun, Wanted, merged, run_of_keys

DAY_MICROS = 24 * 3_600_000_000

# So many runs of about one size become one. Fewer would be rewritten more often, and more would
# have to be searched: a day of 20 million keys has some 20 runs, each key is written three times.
RUNS_PER_MERGE = 8
_TIER_BITS = 3

# Runs up to this size (1.6 MiB) are merged in the database; larger ones become a file.
ROW_KEYS_MAX = 1 << 16

# Runs that wait in rows for a file are in memory too: those of some fifty busy commits. With more
# of them a commit waits for the merge under way, and one that the disk refuses ends the process.
ROWS_BYTES_MAX = 64 * 1024 * 1024

# A merge only saves time later. One that the disk refused is begun anew after so many commits: soon
# enough that the runs which wait stay few, seldom enough that a full disk is left alone.
COMMITS_AFTER_FAILED_MERGE = 20

# A day that is over by this much gets no more keys but from a collector that was silent.
DAY_CLOSED_MICROS = 3_600_000_000


class Kept(msgspec.Struct, frozen=True):
    """One run with its row's number; `file` is None for a run that lies in its row."""

    id: int
    day: int
    file: str | None
    run: SortedRun

    @property
    def tier(self) -> int:
        """Runs of one tier are of about one size, within a factor of eight."""
        return self.run.keys.bit_length() // _TIER_BITS


class _Merge(msgspec.Struct, frozen=True):
    """A file being made of several runs."""

    sources: tuple[Kept, ...]
    file: str
    made: Future[SortedRun]


class Insertions:
    """Every key with the stamp of its newest first occurrence. One thread calls."""

    def __init__(
        self, connection: sqlite3.Connection, folder: Path, files: Files, epoch: int
    ) -> None:
        """Open all runs; raise `Corrupt` if a file is gone or is not what was written."""
        self._folder = folder
        self._files = files
        self._epoch = epoch
        self._made = 0
        self._kept = [
            Kept(id_, day, file, _open(folder, file, body))
            for id_, day, file, body in connection.execute(
                "SELECT id, day, file, body FROM dedupe_run ORDER BY id"
            )
        ]
        self._next: list[Kept] = self._kept
        self._last_stamp = 0
        self._merge: _Merge | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="dedupe")
        self._closing = threading.Event()
        self._pause = 0
        self._cleaned = False

    def find(self, keys: Collection[bytes]) -> dict[bytes, int]:
        """Return the newest stamp of those keys (16 bytes each) that any run has."""
        if not keys or not self._kept:
            return {}
        given = list(keys)
        wanted = Wanted.of(given)
        newest = np.zeros(len(given), dtype=np.int64)
        for kept in self._kept:
            kept.run.search(wanted, newest)
        found = np.flatnonzero(newest)
        places = wanted.order[found].tolist()
        stamps = newest[found].tolist()
        return {given[place]: stamp for place, stamp in zip(places, stamps, strict=True)}

    def write(
        self,
        connection: sqlite3.Connection,
        keys: Mapping[bytes, int],
        *,
        last_stamp: int,
        older_than: int,
    ) -> None:
        """Add new keys with their stamps, take in what was merged, drop runs that are too old.

        A run goes when its newest stamp lies before `older_than`. Inside the commit's transaction;
        `saved` makes it count.
        """
        self._last_stamp = last_stamp
        gone: set[int] = set()
        new: list[Kept] = []
        merge = self._merge
        busy = {kept.id for kept in merge.sources} if merge is not None else set()
        if merge is not None and merge.made.done():
            run = self._take(merge)
            if run is not None:
                new.append(_insert_file(connection, merge.sources[0].day, merge.file, run))
                gone |= busy
            busy = set()
        gone |= {
            kept.id
            for kept in self._kept
            if kept.run.last_stamp < older_than and kept.id not in busy
        }
        for day, body in _by_day(keys):
            new.append(_insert_row(connection, day, body))
        left = [kept for kept in (*self._kept, *new) if kept.id not in gone]
        while small := self._due(left, busy, ROW_KEYS_MAX):
            body = b"".join(merged([kept.run for kept in small]))
            ids = {kept.id for kept in small}
            gone |= ids
            left = [kept for kept in left if kept.id not in ids]
            left.append(_insert_row(connection, small[0].day, body))
        connection.executemany("DELETE FROM dedupe_run WHERE id = ?", [(one,) for one in gone])
        self._next = left

    def saved(self) -> None:
        """Work with what was committed, remove files without a row, begin a merge that is due.

        Wait for the merge while more keys lie in rows than memory may hold.
        """
        ids = {kept.id for kept in self._next}
        for kept in self._kept:
            if kept.id not in ids and kept.file is not None:
                self._files.remove(self._folder / kept.file)
        self._kept = self._next
        self._remove_left_overs()
        self._pause = max(0, self._pause - 1)
        if self._merge is None and not self._pause:
            due = self._due(self._kept, set(), None)
            if due:
                self._begin(due)
        if self._merge is not None and self._rows_bytes() > ROWS_BYTES_MAX:
            wait([self._merge.made])

    def close(self) -> None:
        """Break off a merge under way; nothing is lost, the next processor begins it anew."""
        self._closing.set()
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _take(self, merge: _Merge) -> SortedRun | None:
        """Return what a merge made, or None if the disk refused it and there is room to wait."""
        self._merge = None
        try:
            return merge.made.result()
        except OSError:
            if self._rows_bytes() > ROWS_BYTES_MAX:
                raise
            self._pause = COMMITS_AFTER_FAILED_MERGE
            return None

    def _rows_bytes(self) -> int:
        """Return how much memory the runs in rows take."""
        return sum(kept.run.size_bytes for kept in self._kept if kept.file is None)

    def _due(self, kept: Sequence[Kept], busy: set[int], keys_max: int | None) -> list[Kept]:
        """Return runs of one day that are to become one, of at most `keys_max` keys in all."""
        days: defaultdict[int, list[Kept]] = defaultdict(list)
        tiers: defaultdict[tuple[int, int], list[Kept]] = defaultdict(list)
        for one in kept:
            if one.id not in busy:
                days[one.day].append(one)
                tiers[one.day, one.tier].append(one)
        groups = [group for group in tiers.values() if len(group) >= RUNS_PER_MERGE]
        groups += [
            group
            for day, group in days.items()
            if len(group) > 1 and (day + 1) * DAY_MICROS + DAY_CLOSED_MICROS <= self._last_stamp
        ]
        for group in groups:
            if keys_max is None or sum(one.run.keys for one in group) <= keys_max:
                return group
        return []

    def _begin(self, sources: Sequence[Kept]) -> None:
        self._made += 1
        file = f"{self._epoch:08d}-{self._made:08d}.keys"
        self._files.make_folder(self._folder)
        made = self._thread.submit(
            self._make_file, self._folder / file, [kept.run for kept in sources]
        )
        self._merge = _Merge(tuple(sources), file, made)

    def _make_file(self, path: Path, runs: Sequence[SortedRun]) -> SortedRun:
        def pieces() -> Iterator[bytes]:
            for piece in merged(runs):
                if self._closing.is_set():
                    raise InterruptedError(f"{path} is not needed any more")
                yield piece

        self._files.put_whole(path, pieces(), point="dedupe.file")
        return SortedRun.open(path)

    def _remove_left_overs(self) -> None:
        """After the first commit: remove what processors before this one left without a row."""
        if self._cleaned or not self._folder.exists():
            return
        named = {kept.file for kept in self._kept}
        for path in self._folder.iterdir():
            if path.name not in named and _epoch_of(path.name) < self._epoch:
                self._files.remove(path)
        self._cleaned = True


def _open(folder: Path, file: str | None, body: bytes | None) -> SortedRun:
    return SortedRun.of_bytes(body or b"") if file is None else SortedRun.open(folder / file)


def _by_day(keys: Mapping[bytes, int]) -> Iterable[tuple[int, bytes]]:
    """Yield a run for each UTC day of the stamps; nearly always it is one."""
    if not keys:
        return
    stamps = keys.values()
    days = range(min(stamps) // DAY_MICROS, max(stamps) // DAY_MICROS + 1)
    if len(days) == 1:
        yield days[0], run_of_keys(list(keys), list(stamps))
        return
    for day in sorted({stamp // DAY_MICROS for stamp in stamps}):
        part = {key: stamp for key, stamp in keys.items() if stamp // DAY_MICROS == day}
        yield day, run_of_keys(list(part), list(part.values()))


def _insert_row(connection: sqlite3.Connection, day: int, body: bytes) -> Kept:
    number = connection.execute(
        "INSERT INTO dedupe_run (day, body) VALUES (?, ?) RETURNING id", (day, body)
    ).fetchone()[0]
    return Kept(number, day, None, SortedRun.of_bytes(body))


def _insert_file(connection: sqlite3.Connection, day: int, file: str, run: SortedRun) -> Kept:
    number = connection.execute(
        "INSERT INTO dedupe_run (day, file) VALUES (?, ?) RETURNING id", (day, file)
    ).fetchone()[0]
    return Kept(number, day, file, run)


def _epoch_of(name: str) -> int:
    """Return the epoch in a file's name, also in that of a temporary one; 0 for other names."""
    digits = name.lstrip(".").partition("-")[0]
    return int(digits) if digits.isdigit() else 0


def rows_of_table(connection: sqlite3.Connection) -> None:
    """Move keys from the table in which format 1 kept them into runs; inside a transaction."""
    cursor = connection.execute("SELECT key, stamp FROM dedupe ORDER BY key")
    while rows := cursor.fetchmany(ROW_KEYS_MAX):
        for day, body in _by_day(dict(rows)):
            _insert_row(connection, day, body)
