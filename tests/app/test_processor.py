"""The processor part's loop over a real folder, with a disk that fills."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tailrace.accounts.options import OptionsChange, change_options
from tailrace.accounts.projects import add_organization, add_project
from tailrace.app import processor
from tailrace.app.part import PartContext
from tailrace.app.processor import ProcessorLoop, Room
from tailrace.clock import SteppedClock
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.ids import SystemIds
from tailrace.log.partitions import partition_folder
from tailrace.log.record import Record
from tailrace.log.writer import LogWriter
from tailrace.ops.heartbeats import read_heartbeats
from tailrace.process.user_agents import rules_version
from tailrace.settings import ProcessSettings, Settings
from tailrace.state.database import open_database
from tailrace.state.processing import HourSettings

HOUR = Hour.parse("2026-03-05T17")
TOTAL_BYTES = 10**12


class Disk(Files):
    """The machine's disk with as much free space as a test says."""

    free = TOTAL_BYTES

    def free_bytes(self, path: Path) -> int:
        return self.free

    def total_bytes(self, path: Path) -> int:
        return TOTAL_BYTES


class Bench:
    """A loop, and a log to feed it with."""

    def __init__(self, folder: DataFolder, settings: Settings) -> None:
        self.folder = folder
        self.disk = Disk()
        self.clock = SteppedClock(HOUR.start_micros)
        self._log_folder = partition_folder(folder.log, 1)
        folder.create(self.disk)
        context = PartContext(folder, settings, "processor")
        context.files, context.clock = self.disk, self.clock
        self.room = Room(context)
        self.loop = ProcessorLoop(context, self.room)
        self.loop.recover()

    def collect(self, event: bytes = b'{"event_type":"a","device_id":"device-1"}') -> None:
        async def append() -> None:
            writer = LogWriter.open(
                self._log_folder, partition=1, clock=self.clock, files=Files(), known_end=0
            )
            body = b'{"events":[%b]}' % event
            now = self.clock.now_micros()
            await writer.append(Record(100001, 300001, "/batch", now, None, "203.0.113.7", 1, body))
            writer.close()

        asyncio.run(append())

    def change(self, change: OptionsChange) -> None:
        """Make the project that the events are of, and change its options."""
        engine = open_database(self.folder.database)
        organization = add_organization(engine, "Acme", clock=self.clock)
        made = add_project(engine, organization, "Shop", ids=SystemIds(), clock=self.clock)
        change_options(engine, made.project_id, change, clock=self.clock)
        engine.dispose()

    def hour_settings(self) -> list[HourSettings]:
        """Return what was stored with each hour, oldest first."""
        database = sqlite3.connect(self.folder.processing_database)
        rows = database.execute("SELECT settings FROM project_hour ORDER BY hour").fetchall()
        database.close()
        return [msgspec.json.decode(row[0], type=HourSettings) for row in rows]

    def pass_seconds(self, seconds: int) -> None:
        self.clock.advance(seconds * 1_000_000)

    def counters(self) -> tuple[float, float, float]:
        counted = self.loop.counters()
        return (
            counted["processed_entries"],
            counted["checkpoints"],
            counted["disk_reserves_broken"],
        )


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    settings = Settings(process=ProcessSettings(property_updates_per_hour=1))
    bench = Bench(DataFolder(tmp_path / "data"), settings)
    yield bench
    bench.loop.close()
    bench.room.close()


def test_under_the_third_reserve_nothing_is_read_written_or_waited_for_in_a_hurry(
    bench: Bench,
) -> None:
    bench.disk.free = 1
    bench.collect()
    for _ in range(40):
        # No work is reported, so the loop rests between its turns.
        assert not bench.loop.turn()
        bench.pass_seconds(1)
    bench.loop.finish()
    assert bench.counters() == (0, 0, 3)

    bench.disk.free = TOTAL_BYTES
    bench.pass_seconds(2)
    assert bench.loop.turn()
    bench.pass_seconds(31)
    assert bench.loop.turn()
    assert bench.counters() == (2, 1, 0)


def test_under_the_second_reserve_processing_goes_on(bench: Bench) -> None:
    bench.disk.free = 2 * 10**9
    bench.collect()
    assert bench.loop.turn()
    bench.pass_seconds(31)
    assert bench.loop.turn()
    assert bench.counters() == (2, 1, 2)


def test_a_start_under_the_third_reserve_waits_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "ROOM_SECONDS", 0.0)
    folder = DataFolder(tmp_path / "data")
    folder.create(Files())
    context = PartContext(folder, Settings(), "processor")
    clock = SteppedClock(HOUR.start_micros)
    context.clock = clock
    beats: list[int] = []

    class Full(Disk):
        free = 1

        def free_bytes(self, path: Path) -> int:
            beats.append(len(read_heartbeats(folder.run)))
            clock.advance(2_000_000)
            if len(beats) == 3:
                context.stop.set()
            return super().free_bytes(path)

    context.files = Full()
    processor.run(context)
    # It was up while it waited, took neither lock nor epoch, and stopped when it was told to.
    assert beats == [0, 1, 1]
    assert not folder.processing_database.exists()
    assert not (folder.path / "processing.lock").exists()


def test_options_of_the_project_hold_from_the_next_hour_that_opens(bench: Bench) -> None:
    bench.collect()
    bench.loop.turn()
    change = OptionsChange(None, True, True, True, drop_bots=True, keep_advertising_ids=True)
    bench.change(change)
    bench.collect()
    bench.pass_seconds(3600)
    bench.collect()

    while bench.loop.turn():
        bench.pass_seconds(31)

    first, second = bench.hour_settings()
    assert first == HourSettings(devices=rules_version())
    assert second == HourSettings(None, None, True, True, True, rules_version(), True, True)


def test_updates_beyond_the_setting_and_unknown_operations_are_counted(bench: Bench) -> None:
    event = b'{"event_type":"%b","device_id":"device-1","user_properties":{%b}}'
    bench.collect(event % (b"$identify", b'"$delete":{"a":"-"}'))
    for _ in range(3):
        bench.collect(event % (b"a", b'"a":1'))
    while bench.loop.turn():
        pass

    counted = bench.loop.counters()
    assert (counted["property_operations_ignored"], counted["property_updates_dropped"]) == (1, 3)
