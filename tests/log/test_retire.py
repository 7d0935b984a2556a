from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tailrace.clock import SteppedClock
from tailrace.errors import BadRequest, InUse
from tailrace.files import Files
from tailrace.log import partitions, retire
from tailrace.log.partitions import PartitionRetired, list_partitions
from tailrace.log.reader import LogReader
from tailrace.log.record import Record
from tailrace.log.retire import retire_partition
from tailrace.log.writer import LogWriter

OpenWriter = Callable[..., LogWriter]


def test_a_retired_partition_ends_with_a_final_entry_and_takes_no_more(
    open_writer: OpenWriter,
    make_record: Callable[..., Record],
    log_folder: Path,
    clock: SteppedClock,
    reader: LogReader,
) -> None:
    writer = open_writer(2)
    asyncio.run(writer.append(make_record()))
    writer.close()
    retire_partition(log_folder, 2, clock=clock, files=Files(), known_end=0)
    end = reader.durable_ends()[2]
    (listed,) = list_partitions(log_folder)
    assert listed.retired == end
    with pytest.raises(PartitionRetired):
        open_writer(2)


def test_a_running_writer_refuses_appends_after_its_final_entry(
    open_writer: OpenWriter, make_record: Callable[..., Record]
) -> None:
    writer = open_writer()
    end = asyncio.run(writer.retire())
    with pytest.raises(PartitionRetired):
        asyncio.run(writer.append(make_record()))
    assert writer.end == end


def test_appends_behind_the_final_entry_in_its_group_are_refused(
    open_writer: OpenWriter, make_record: Callable[..., Record]
) -> None:
    writer = open_writer()

    async def main() -> list[object]:
        before = [asyncio.ensure_future(writer.append(make_record(str(n)))) for n in range(3)]
        final = asyncio.ensure_future(writer.retire())
        behind = [asyncio.ensure_future(writer.append(make_record(str(n)))) for n in range(3)]
        return [*await asyncio.gather(*before, final, *behind, return_exceptions=True)]

    results = asyncio.run(main())
    assert all(isinstance(stamp, int) for stamp in results[:3])
    assert results[3] == writer.end
    assert all(isinstance(error, PartitionRetired) for error in results[4:])


def test_retiring_twice_changes_nothing(
    open_writer: OpenWriter, log_folder: Path, clock: SteppedClock
) -> None:
    open_writer().close()
    retire_partition(log_folder, 1, clock=clock, files=Files(), known_end=0)
    before = list_partitions(log_folder)
    retire_partition(log_folder, 1, clock=clock, files=Files(), known_end=0)
    assert list_partitions(log_folder) == before


def test_a_crash_between_the_final_entry_and_the_list_is_made_good(
    open_writer: OpenWriter, log_folder: Path, clock: SteppedClock
) -> None:
    writer = open_writer()
    end = asyncio.run(writer.retire())
    writer.close()
    partitions._store(log_folder, [partitions.Partition(1)], Files())
    retire_partition(log_folder, 1, clock=clock, files=Files(), known_end=0)
    assert list_partitions(log_folder) == [partitions.Partition(1, end)]


def test_a_running_collectors_partition_is_not_retired(
    open_writer: OpenWriter, log_folder: Path, clock: SteppedClock
) -> None:
    open_writer()
    with pytest.raises(InUse):
        retire_partition(log_folder, 1, clock=clock, files=Files(), known_end=0)


def test_an_unknown_partition_is_named(log_folder: Path, clock: SteppedClock) -> None:
    with pytest.raises(BadRequest, match="partition 9"):
        retire.retire_partition(log_folder, 9, clock=clock, files=Files(), known_end=0)
