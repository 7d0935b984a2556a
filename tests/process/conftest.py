"""`Bench`: a processor over a log in memory, with a real database and real packs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from isal import isal_zlib

from tailrace.archive.folder import FolderArchive
from tailrace.clock import SteppedClock
from tailrace.files import Files
from tailrace.hours import HOUR_MICROS, Hour
from tailrace.log.record import Entry, Position, Record
from tailrace.process.loop import Processor
from tailrace.state.insertions import Insertions
from tailrace.state.processing import HourSettings, ProcessingStore

HOUR = Hour.parse("2026-03-05T17")
ORGANIZATION = 100001
PROJECT = 300001


class MemoryLog:
    """Entries of several partitions, all durable at once; a round may be cut to `round_entries`."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        # The position of the first of these; a test may drop what is processed.
        self.first = 1
        self.round_entries = 1_000_000

    def read_round(self, positions: Mapping[int, Position], limit_bytes: int) -> Sequence[Entry]:
        waiting = [
            entry
            for entry in self.entries
            if entry.partition not in positions
            or entry.position >= positions[entry.partition].position
        ]
        waiting.sort(key=lambda entry: (entry.stamp, entry.partition))
        return waiting[: self.round_entries]


class FixedIds:
    """Keys that are the same in every test, so that lines are."""

    def random_bytes(self, count: int) -> bytes:
        return b"k" * count


class Bench:
    """A data folder, a log, and the processor at work on them."""

    hour = HOUR
    organization = ORGANIZATION
    project = PROJECT

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "packs").mkdir(parents=True, exist_ok=True)
        self.log = MemoryLog()
        self.clock = SteppedClock(HOUR.start_micros)
        self.files = Files()
        self.archive = FolderArchive(folder / "packs", folder / "archive", self.files)
        self.settings = HourSettings()
        self.updates_max: int | None = None
        self.stamp = HOUR.start_micros
        self.start()

    def start(self) -> Processor:
        """Start a processor as a new process would."""
        self.store = ProcessingStore.open(self.folder / "processing.sqlite", FixedIds())
        self.processor = Processor(
            self.log,
            self.store,
            self.archive,
            self.clock,
            self.files,
            lambda project: self.settings,
            self.folder / "processing.lock",
            self.updates_max,
        )
        return self.processor

    def crash(self) -> Processor:
        """Lose the memory of the processor and start another."""
        self.stop()
        return self.start()

    def stop(self) -> None:
        self.processor.close()
        self.store.close()

    def append(
        self,
        body: bytes,
        *,
        count: int = 1,
        partition: int = 1,
        stamp: int | None = None,
        project: int = PROJECT,
        organization: int = ORGANIZATION,
        received: int | None = None,
        sent: int | None = None,
        endpoint: str = "/2/httpapi",
        address: str = "203.0.113.7",
        retry_of: tuple[int, int, int] | None = None,
    ) -> Entry:
        """Put a record into the log; without a stamp it comes a millisecond after the last."""
        stamp = self.stamp + 1000 if stamp is None else stamp
        record = Record(
            organization,
            project,
            endpoint,
            stamp if received is None else received,
            sent,
            address,
            count,
            body,
            retry_of,
        )
        return self._add(partition, stamp, record)

    def send(self, *events: Mapping[str, Any], **options: Any) -> Entry:
        """Put events into the log, as one record."""
        body = json.dumps({"api_key": "k", "events": events}).encode()
        return self.append(body, count=len(events), **options)

    def tick(self, *, partition: int = 1, stamp: int | None = None) -> Entry:
        return self._add(partition, self.stamp + 1000 if stamp is None else stamp, None)

    def run(self) -> None:
        """Process all that is in the log, and commit it."""
        while self.processor.run_round():
            pass
        self.processor.checkpoint()

    def raw(self, project: int = PROJECT, hour: Hour = HOUR) -> bytes:
        """Return the committed lines of a project's hour, as a file would hold them."""
        rows = self.store.connection.execute(
            "SELECT pack, offset, length, crc, raw_length, lines FROM chunk "
            "WHERE project = ? AND hour = ? ORDER BY sequence",
            (project, hour.number),
        ).fetchall()
        whole = b""
        for pack, offset, length, crc, raw_length, lines in rows:
            part = self.archive.read_pack(pack, offset, length)
            raw = isal_zlib.decompress(part + b"\x03\x00", -15)
            assert (isal_zlib.crc32(raw), len(raw), raw.count(b"\n")) == (crc, raw_length, lines)
            whole += raw
        return whole

    def lines(self, project: int = PROJECT, hour: Hour = HOUR) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.raw(project, hour).splitlines()]

    def counts(self, project: int = PROJECT, hour: Hour = HOUR) -> dict[str, int]:
        row = self.store.connection.execute(
            "SELECT accepted, exported, duplicates, identifies, filtered, held FROM project_hour "
            "WHERE project = ? AND hour = ?",
            (project, hour.number),
        ).fetchone()
        names = ("accepted", "exported", "duplicates", "identifies", "filtered", "held")
        return dict(zip(names, row, strict=True))

    def dedupe_keys(self) -> int:
        """Return how many keys a newly started processor would know."""
        runs = Insertions(self.store.connection, self.store.keys_folder, self.files, epoch=0)
        runs.close()
        return sum(kept.run.keys for kept in runs._kept)

    def rows(self, statement: str) -> list[Any]:
        return self.store.connection.execute(statement).fetchall()

    def _add(self, partition: int, stamp: int, record: Record | None) -> Entry:
        self.stamp = max(self.stamp, stamp)
        position = self.log.first + sum(entry.partition == partition for entry in self.log.entries)
        entry = Entry(partition, position, position + 1, stamp, record)
        self.log.entries.append(entry)
        return entry


@pytest.fixture
def bench(tmp_path: Path):  # type: ignore[no-untyped-def]  # a generator of what it names
    bench = Bench(tmp_path)
    yield bench
    bench.stop()


@pytest.fixture
def make_bench():  # type: ignore[no-untyped-def]  # as above
    """Make benches in folders of the caller's choice; for tests that need many."""
    made: list[Bench] = []

    def make(folder: Path) -> Bench:
        made.append(Bench(folder))
        return made[-1]

    yield make
    for bench in made:
        bench.stop()


@pytest.fixture
def hour_micros() -> int:
    return HOUR_MICROS


def long_record() -> list[dict[str, Any]]:
    """Return events for one record in several parts: each adds to what is known of its device."""
    kinds = ("buy", "buy", "buy", "$identify", "buy", "buy", "buy")
    return [
        {
            "device_id": f"device-{n % 7}",
            "event_type": kinds[n % 7],
            "insert_id": str(n),
            "user_properties": {"$add": {"n": 1}} if kinds[n % 7] == "$identify" else {"n": n // 7},
        }
        for n in range(350)
    ]


@pytest.fixture(name="long_record")
def long_record_fixture() -> list[dict[str, Any]]:
    return long_record()
