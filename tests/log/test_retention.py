from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tailrace.clock import MICROS, SteppedClock
from tailrace.files import Files
from tailrace.log.end import End
from tailrace.log.reader import LogReader
from tailrace.log.record import Record
from tailrace.log.retention import remove_segments
from tailrace.log.writer import LogWriter


@pytest.fixture
def writer(open_writer: Callable[..., LogWriter]) -> LogWriter:
    return open_writer(segment_bytes=1)


@pytest.fixture
def ends(writer: LogWriter, make_record: Callable[..., Record], clock: SteppedClock) -> list[End]:
    """The ends of five segments, an entry each, a second apart."""
    ends = [writer.end]
    for text in "abcd":
        clock.advance(MICROS)
        asyncio.run(writer.append(make_record(text)))
        ends.append(writer.end)
    return ends


def count(log_folder: Path) -> int:
    return len(list((log_folder / "1").glob("*.log")))


def test_segments_below_the_position_and_older_than_the_time_go(
    ends: list[End], log_folder: Path, reader: LogReader, make_record: Callable[..., Record]
) -> None:
    removed = remove_segments(log_folder, 1, ends[2].position, ends[4].stamp, Files())
    assert removed == 3
    assert count(log_folder) == 2
    entry = reader.read(1, ends[2].position, 1 << 20)[0]
    assert entry.record == make_record("c")


def test_a_segment_that_is_not_wholly_below_the_position_stays(
    ends: list[End], log_folder: Path
) -> None:
    assert remove_segments(log_folder, 1, ends[2].position - 1, ends[4].stamp, Files()) == 2


def test_a_segment_whose_last_entry_is_young_stays(ends: list[End], log_folder: Path) -> None:
    assert remove_segments(log_folder, 1, ends[4].position, ends[1].stamp, Files()) == 1


def test_the_newest_segment_always_stays(ends: list[End], log_folder: Path) -> None:
    assert remove_segments(log_folder, 1, ends[4].position, 2**62, Files()) == 4
    assert count(log_folder) == 1


def test_a_writer_starts_on_what_is_left(
    writer: LogWriter,
    ends: list[End],
    log_folder: Path,
    open_writer: Callable[..., LogWriter],
    make_record: Callable[..., Record],
    reader: LogReader,
) -> None:
    remove_segments(log_folder, 1, ends[4].position, 2**62, Files())
    writer.close()
    asyncio.run(open_writer(known_end=ends[4].position).append(make_record("e")))
    assert reader.read(1, ends[4].position, 1 << 20)[0].record == make_record("e")
