"""Held events through the log again, with the real log, processor and database."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest

from tailrace.app.held import retry_held
from tailrace.app.processor import LogRounds
from tailrace.archive.folder import FolderArchive
from tailrace.clock import SteppedClock
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.hours import Hour
from tailrace.ids import SystemIds
from tailrace.log.partitions import list_partitions, partition_folder
from tailrace.log.reader import LogReader
from tailrace.log.record import Record
from tailrace.log.writer import LogWriter
from tailrace.process.loop import Processor
from tailrace.state.processing import HourSettings, ProcessingStore
from tailrace.state.processing_view import ProcessingView

HOUR = Hour.parse("2026-03-05T17")
GOOD = b'{"event_type":"a","device_id":"device-1","insert_id":"1"}'
BAD = b'{"event_type":"a","device_id":"device-1","insert_id":"2","event_properties":{\n}}'
MENDED = BAD.replace(b"\n", b"")


def _collect(folder: DataFolder, clock: SteppedClock, files: Files) -> None:
    async def append() -> None:
        writer = LogWriter.open(
            partition_folder(folder.log, 1), partition=1, clock=clock, files=files, known_end=0
        )
        body = b'{"events":[' + GOOD + b"," + BAD + b"]}"
        now = clock.now_micros()
        await writer.append(Record(100001, 300001, "/batch", now, None, "203.0.113.7", 2, body))
        writer.close()

    asyncio.run(append())


def _process(folder: DataFolder, clock: SteppedClock, files: Files) -> None:
    store = ProcessingStore.open(folder.processing_database, SystemIds())
    reader = LogReader(folder.log)
    processor = Processor(
        LogRounds(reader, clock),
        store,
        FolderArchive(folder.packs, folder.archive, files),
        clock,
        files,
        lambda project: HourSettings(),
        folder.path / "processing.lock",
    )
    while processor.run_round():
        clock.advance(1)
    processor.checkpoint()
    processor.close()
    store.close()
    reader.close()


def test_a_held_event_goes_through_the_log_again_exactly_once(tmp_path: Path) -> None:
    folder, files, clock = DataFolder(tmp_path), Files(), SteppedClock(HOUR.start_micros)
    folder.create(files)
    _collect(folder, clock, files)
    _process(folder, clock, files)
    view = ProcessingView(folder.processing_database)
    assert view.held_count() == 1
    # What a release that can process it would see.
    with sqlite3.connect(folder.processing_database) as connection:
        connection.execute("UPDATE held SET event = ?", (MENDED,))
    connection.close()

    clock.advance(1_000_000)
    assert [retry_held(folder, clock, files), retry_held(folder, clock, files)] == [1, 1]
    clock.advance(1_000_000)
    _process(folder, clock, files)

    assert view.held_count() == 0
    (hour,) = view.open_hours()
    assert (hour.accepted, hour.exported, hour.duplicates, hour.held) == (4, 2, 1, 1)
    assert retry_held(folder, clock, files) == 0
    statuses = json.loads((folder.log / "partitions").read_bytes())
    assert len(statuses["partitions"]) == 3


def test_a_retry_that_is_cut_short_holds_no_hour_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, files, clock = DataFolder(tmp_path), Files(), SteppedClock(HOUR.start_micros)
    folder.create(files)
    _collect(folder, clock, files)
    _process(folder, clock, files)

    async def interrupted(writer: LogWriter, record: Record) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(LogWriter, "append", interrupted)
    clock.advance(1_000_000)
    with pytest.raises(KeyboardInterrupt):
        retry_held(folder, clock, files)
    assert [listed.id for listed in list_partitions(folder.log) if not listed.retired] == [1]
