from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tailrace.clock import MICROS, SteppedClock
from tailrace.errors import Corrupt
from tailrace.files import Files
from tailrace.log.end import END_FILE, End, EndFile
from tailrace.log.partitions import register_partition
from tailrace.log.reader import LogReader
from tailrace.log.record import Entry, Position, Record
from tailrace.log.retention import remove_segments
from tailrace.log.writer import LogWriter

MakeRecord = Callable[..., Record]
OpenWriter = Callable[..., LogWriter]


def append(writer: LogWriter, *records: Record) -> list[End]:
    ends = []
    for record in records:
        asyncio.run(writer.append(record))
        ends.append(writer.end)
    return ends


def bodies(entries: list[Entry]) -> list[bytes]:
    return [entry.record.body for entry in entries if entry.record is not None]


def test_reading_goes_on_after_each_entry(
    open_writer: OpenWriter, make_record: MakeRecord, reader: LogReader
) -> None:
    records = [make_record(str(i)) for i in range(9)]
    append(open_writer(), *records)
    read, position = [], 0
    while entries := reader.read(1, position, 1):
        assert len(entries) == 1
        assert entries[0].position >= position
        position = entries[0].next_position
        read += bodies(entries)
    assert read == [record.body for record in records]


def test_the_published_end_is_obeyed(
    open_writer: OpenWriter, make_record: MakeRecord, reader: LogReader, log_folder: Path
) -> None:
    writer = open_writer()
    ends = append(writer, *(make_record(text) for text in "abc"))
    writer.close()
    file = EndFile(log_folder / "1")
    file.publish(ends[1])
    file.close()
    assert bodies(reader.read(1, 0, 1 << 20)) == [make_record("a").body, make_record("b").body]
    assert reader.durable_ends() == {1: ends[1]}


def test_without_a_published_end_nothing_is_durable_yet(
    open_writer: OpenWriter, make_record: MakeRecord, reader: LogReader, log_folder: Path
) -> None:
    writer = open_writer()
    append(writer, make_record())
    writer.close()
    (log_folder / "1" / END_FILE).unlink()
    assert reader.durable_ends() == {1: End(0, 0)}
    assert reader.read(1, 0, 1 << 20) == []


def test_a_reader_sees_entries_and_segments_as_they_come(
    open_writer: OpenWriter, make_record: MakeRecord, reader: LogReader
) -> None:
    writer = open_writer(segment_bytes=300)
    position = reader.read(1, 0, 1 << 20)[-1].next_position
    for number in range(20):
        append(writer, make_record(str(number)))
        entries = reader.read(1, position, 1 << 20)
        assert bodies(entries) == [make_record(str(number)).body]
        assert reader.read(1, entries[-1].next_position, 1 << 20) == []
        position = entries[-1].next_position
        if number == 10:
            writer.close()
            writer = open_writer(segment_bytes=300)


def test_about_the_asked_bytes_are_read_and_always_one_entry(
    open_writer: OpenWriter, make_record: MakeRecord, reader: LogReader
) -> None:
    append(open_writer(), *(make_record(str(i), size=10_000) for i in range(10)))
    start = reader.read(1, 0, 1)[-1].next_position
    assert len(reader.read(1, start, 35_000)) == 3
    assert len(reader.read(1, start, 10)) == 1


def test_damage_before_the_end_is_named(
    open_writer: OpenWriter, make_record: MakeRecord, reader: LogReader, log_folder: Path
) -> None:
    append(open_writer(), make_record("a"), make_record("b"))
    (path,) = (log_folder / "1").glob("*.log")
    data = bytearray(path.read_bytes())
    data[data.index(make_record("b").body)] ^= 1
    path.write_bytes(bytes(data))
    first = reader.read(1, 0, 1 << 20)
    assert bodies(first) == [make_record("a").body]
    with pytest.raises(Corrupt, match=f"{path.name}.*damaged"):
        reader.read(1, first[-1].next_position, 1 << 20)


def test_segments_that_are_gone_are_named(
    open_writer: OpenWriter, make_record: MakeRecord, reader: LogReader, log_folder: Path
) -> None:
    append(open_writer(segment_bytes=1), *(make_record(text) for text in "abc"))
    paths = sorted((log_folder / "1").glob("*.log"))
    paths[0].unlink()
    with pytest.raises(Corrupt, match="oldest segment"):
        reader.read(1, 0, 1 << 20)
    for path in paths[1:]:
        path.unlink()
    with pytest.raises(Corrupt, match="gone"):
        LogReader(log_folder).read(1, 0, 1 << 20)


def test_a_committed_position_within_the_log_is_accepted(
    open_writer: OpenWriter, make_record: MakeRecord, reader: LogReader
) -> None:
    for end in append(open_writer(), make_record(), make_record()):
        reader.check_position(Position(1, end.position, end.stamp))


def test_a_committed_position_beyond_the_log_is_refused(
    open_writer: OpenWriter, make_record: MakeRecord, reader: LogReader
) -> None:
    (end,) = append(open_writer(), make_record())
    with pytest.raises(Corrupt, match="one backup"):
        reader.check_position(Position(1, end.position + 1, end.stamp))


def test_a_committed_position_of_a_log_that_is_gone_is_refused(
    open_writer: OpenWriter, make_record: MakeRecord, reader: LogReader, log_folder: Path
) -> None:
    (end,) = append(open_writer(), make_record())
    shutil.rmtree(log_folder / "1")
    with pytest.raises(Corrupt):
        reader.check_position(Position(1, end.position, end.stamp))


@pytest.mark.parametrize("segment_bytes", [1, 1 << 20])
@pytest.mark.parametrize("published", [None, 0, 2])
def test_a_position_beyond_an_end_that_a_power_failure_made_old_is_accepted(
    open_writer: OpenWriter,
    make_record: MakeRecord,
    reader: LogReader,
    log_folder: Path,
    published: int | None,
    segment_bytes: int,
) -> None:
    writer = open_writer(segment_bytes=segment_bytes)
    ends = append(writer, *(make_record(text) for text in "abcde"))
    writer.close()
    if published is None:
        (log_folder / "1" / END_FILE).unlink()
    else:
        file = EndFile(log_folder / "1")
        file.publish(ends[published])
        file.close()
    reader.check_position(Position(1, ends[-1].position, ends[-1].stamp))
    with pytest.raises(Corrupt):
        reader.check_position(Position(1, ends[-1].position + 50, ends[-1].stamp))
    assert reader.read(1, ends[-1].position, 1 << 20) == []


@pytest.mark.parametrize("published", [None, 0, 1])
def test_segments_that_were_removed_are_not_missed_after_a_power_failure(
    open_writer: OpenWriter,
    make_record: MakeRecord,
    reader: LogReader,
    log_folder: Path,
    published: int | None,
) -> None:
    writer = open_writer(segment_bytes=1)
    ends = append(writer, *(make_record(text) for text in "abcde"))
    writer.close()
    assert remove_segments(log_folder, 1, ends[3].position, 2**62, Files()) == 5
    (log_folder / "1" / END_FILE).unlink()
    if published is not None:
        file = EndFile(log_folder / "1")
        file.publish(ends[published])
        file.close()
    for end in ends[3:]:
        reader.check_position(Position(1, end.position, end.stamp))
    with pytest.raises(Corrupt, match="was processed before, but the log ends at"):
        reader.check_position(Position(1, ends[-1].position + 50, ends[-1].stamp))
    with pytest.raises(Corrupt, match="is the oldest segment left"):
        reader.check_position(Position(1, ends[2].position, ends[2].stamp))


def test_a_retired_partition_counts_until_its_final_entry_is_read(
    open_writer: OpenWriter, make_record: MakeRecord, reader: LogReader
) -> None:
    open_writer(1)
    retiring = open_writer(2)
    append(retiring, make_record())
    end = asyncio.run(retiring.retire())
    assert reader.partitions() == [1, 2]
    assert reader.partitions({}) == [1, 2]
    assert reader.partitions({2: end.position - 1}) == [1, 2]
    assert reader.partitions({2: end.position}) == [1]
    entries, position = [], 0
    while more := reader.read(2, position, 1 << 20):
        entries += more
        position = more[-1].next_position
    assert entries[-1].final
    assert position == end.position


def test_a_retired_partition_is_read_to_its_end_though_a_power_failure_made_that_old(
    open_writer: OpenWriter, make_record: MakeRecord, reader: LogReader, log_folder: Path
) -> None:
    retiring = open_writer(2)
    append(retiring, make_record("a"), make_record("b"))
    end = asyncio.run(retiring.retire())
    retiring.close()
    (log_folder / "2" / END_FILE).unlink()
    entries = reader.read(2, 0, 1 << 20)
    assert bodies(entries) == [make_record("a").body, make_record("b").body]
    assert entries[-1].final
    assert reader.durable_ends() == {2: end}
    assert reader.partitions({2: entries[-1].next_position}) == []


def test_partitions_that_hold_an_hour_open_are_named(
    open_writer: OpenWriter, clock: SteppedClock, reader: LogReader
) -> None:
    open_writer(1)
    alive = open_writer(2)
    gone = open_writer(3)
    asyncio.run(gone.retire())
    named = [reader.silent_partitions(clock.now_micros())]
    clock.advance(30 * MICROS)
    asyncio.run(alive.tick_if_due())
    clock.advance(29 * MICROS)
    named.append(reader.silent_partitions(clock.now_micros()))
    clock.advance(MICROS)
    named.append(reader.silent_partitions(clock.now_micros()))
    assert named == [[], [], [1]]


def test_a_partition_that_never_wrote_is_silent(log_folder: Path, clock: SteppedClock) -> None:
    register_partition(log_folder, 7, Files())
    assert LogReader(log_folder).silent_partitions(clock.now_micros()) == [7]
