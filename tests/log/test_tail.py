"""Disks that fail: what is answered, what stays, and whether the writer goes on."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailrace.clock import SteppedClock
from tailrace.errors import TailraceError, Transient
from tailrace.files import AppendFile, Files
from tailrace.log.reader import LogReader
from tailrace.log.record import Record
from tailrace.log.tail import LogBroken, WriteFailed
from tailrace.log.writer import LogWriter

MakeRecord = Callable[..., Record]
OpenWriter = Callable[..., LogWriter]


class FaultyFiles(Files):
    """Fail what the test says, the next time it is done to a segment."""

    def __init__(self) -> None:
        super().__init__()
        self.write_error: int | None = None
        self.write_bytes: int | None = None
        self.truncate_error: int | None = None
        self.sync_errors: list[int | None] = []
        self.sync_calls: list[Path] = []

    def open_append(self, path: Path) -> AppendFile:
        return FaultyFile(super().open_append(path), self)


class FaultyFile(AppendFile):
    def __init__(self, plain: AppendFile, faults: FaultyFiles) -> None:
        super().__init__(plain.path, plain._descriptor)
        self._faults = faults

    def write(self, data: bytes | bytearray | memoryview) -> int:
        faults = self._faults
        taken, faults.write_bytes = faults.write_bytes, None
        error, faults.write_error = faults.write_error, None
        if taken is not None:
            # What a full disk does: some bytes are taken, and perhaps then an error comes.
            taken = super().write(memoryview(data)[: min(taken, len(data) - 1)])
        if error is not None:
            raise OSError(error, os.strerror(error))
        return super().write(data) if taken is None else taken

    def truncate(self, size: int) -> None:
        error, self._faults.truncate_error = self._faults.truncate_error, None
        if error is not None:
            raise OSError(error, os.strerror(error))
        super().truncate(size)

    def sync_data(self) -> None:
        self._faults.sync_calls.append(self.path)
        error = self._faults.sync_errors.pop(0) if self._faults.sync_errors else None
        if error is not None:
            raise OSError(error, os.strerror(error))
        super().sync_data()


@pytest.fixture
def faults() -> FaultyFiles:
    return FaultyFiles()


def append(writer: LogWriter, record: Record) -> int:
    return asyncio.run(writer.append(record))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("taken", [None, 0, 1, 20, 60, 100_000])
def test_a_failed_write_is_cut_back_and_the_writer_goes_on(
    open_writer: OpenWriter,
    make_record: MakeRecord,
    read_all: Callable[..., list[bytes]],
    faults: FaultyFiles,
    code: int,
    taken: int | None,
) -> None:
    writer = open_writer(files=faults)
    append(writer, make_record("before"))
    end = writer.end
    faults.write_error, faults.write_bytes = code, taken
    with pytest.raises(WriteFailed, match="Nothing was stored"):
        append(writer, make_record("lost"))
    assert writer.end == end
    append(writer, make_record("after"))
    writer.close()
    open_writer()
    assert read_all() == [make_record("before").body, make_record("after").body]


def test_a_short_write_is_cut_back(
    open_writer: OpenWriter,
    make_record: MakeRecord,
    read_all: Callable[..., list[bytes]],
    faults: FaultyFiles,
) -> None:
    writer = open_writer(files=faults)
    faults.write_bytes = 50
    with pytest.raises(Transient):
        append(writer, make_record("lost"))
    append(writer, make_record("after"))
    assert read_all() == [make_record("after").body]


def test_a_whole_group_hears_of_its_failed_write(
    open_writer: OpenWriter, make_record: MakeRecord, faults: FaultyFiles
) -> None:
    writer = open_writer(files=faults)

    async def main() -> list[int | BaseException]:
        faults.write_error = errno.ENOSPC
        waiting = [asyncio.ensure_future(writer.append(make_record())) for _ in range(9)]
        return await asyncio.gather(*waiting, return_exceptions=True)

    # The first append may be a group of its own.
    answers = asyncio.run(main())
    assert isinstance(answers[0], WriteFailed)
    assert all(isinstance(answer, (int, WriteFailed)) for answer in answers)


def test_positions_of_cut_bytes_are_never_used_again(
    open_writer: OpenWriter, make_record: MakeRecord, faults: FaultyFiles, reader: LogReader
) -> None:
    writer = open_writer(files=faults)
    lost_from, lost_size = writer.end.position, 5_000
    faults.write_error, faults.write_bytes = errno.ENOSPC, lost_size
    with pytest.raises(WriteFailed):
        append(writer, make_record(size=lost_size))
    append(writer, make_record())
    entry = reader.read(1, lost_from, 1 << 20)[0]
    assert entry.position > lost_from + lost_size


def test_writes_that_keep_failing_leave_no_pile_of_segments(
    open_writer: OpenWriter, make_record: MakeRecord, faults: FaultyFiles, log_folder: Path
) -> None:
    writer = open_writer(files=faults)
    for _ in range(20):
        faults.write_error = errno.ENOSPC
        with pytest.raises(WriteFailed):
            append(writer, make_record())
    assert len(list((log_folder / "1").glob("*.log"))) <= 2


def test_a_sync_that_fails_breaks_the_writer_and_is_not_repeated(
    open_writer: OpenWriter, make_record: MakeRecord, faults: FaultyFiles
) -> None:
    writer = open_writer(files=faults)
    end = writer.end
    faults.sync_errors = [errno.EIO]
    calls = len(faults.sync_calls)
    with pytest.raises(LogBroken, match="may be stored or not"):
        append(writer, make_record("first"))
    with pytest.raises(LogBroken):
        append(writer, make_record("second"))
    with pytest.raises(LogBroken):
        asyncio.run(writer.tick_if_due())
    writer.close()
    assert len(faults.sync_calls) == calls + 1
    assert writer.end == end


def test_after_a_failed_sync_recovery_keeps_the_record_wholly(
    open_writer: OpenWriter,
    make_record: MakeRecord,
    read_all: Callable[..., list[bytes]],
    faults: FaultyFiles,
) -> None:
    writer = open_writer(files=faults)
    append(writer, make_record("sure"))
    faults.sync_errors = [errno.EIO]
    with pytest.raises(LogBroken):
        append(writer, make_record("unsure"))
    assert read_all() == [make_record("sure").body]
    writer.close()
    open_writer()
    assert read_all() == [make_record("sure").body, make_record("unsure").body]


@pytest.mark.parametrize("step", ["truncate", "sync"])
def test_a_cut_that_fails_breaks_the_writer(
    open_writer: OpenWriter, make_record: MakeRecord, faults: FaultyFiles, step: str
) -> None:
    writer = open_writer(files=faults)
    faults.write_error, faults.write_bytes = errno.EIO, 40
    if step == "truncate":
        faults.truncate_error = errno.EIO
    else:
        faults.sync_errors = [errno.EIO]
    with pytest.raises(LogBroken):
        append(writer, make_record())
    with pytest.raises(LogBroken):
        append(writer, make_record())


def test_a_full_disk_at_a_new_segment_stores_nothing_and_is_tried_again(
    open_writer: OpenWriter,
    make_record: MakeRecord,
    read_all: Callable[..., list[bytes]],
    faults: FaultyFiles,
) -> None:
    writer = open_writer(files=faults, segment_bytes=1)
    for _ in range(3):
        faults.write_error = errno.ENOSPC
        with pytest.raises(WriteFailed):
            append(writer, make_record("lost"))
    append(writer, make_record("after"))
    writer.close()
    open_writer()
    assert read_all() == [make_record("after").body]


failures = st.sampled_from(["none", "none", "enospc", "eio", "short", "full", "restart"])


@pytest.mark.slow  # some hundred syncs and restarts on real files
@settings(max_examples=25, deadline=None)
@given(steps=st.lists(failures, min_size=1, max_size=14), segment_bytes=st.sampled_from([1, 400]))
def test_whatever_fails_exactly_the_answered_records_are_there(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], segment_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("log") / "log"
    clock, faults = SteppedClock(1_770_000_000_000_000), FaultyFiles()

    def start() -> LogWriter:
        return LogWriter.open(
            folder / "1",
            partition=1,
            clock=clock,
            files=faults,
            known_end=0,
            segment_bytes=segment_bytes,
        )

    writer = start()
    answered: list[bytes] = []
    for number, step in enumerate(steps):
        if step == "restart":
            writer.close()
            writer = start()
        faults.write_error = {"enospc": errno.ENOSPC, "eio": errno.EIO, "full": 28}.get(step)
        faults.write_bytes = {"short": 30, "full": 70}.get(step)
        record = Record(1, 2, "/batch", 3, None, "::1", 1, b'{"n":%d}' % number)
        try:
            append(writer, record)
            answered.append(record.body)
        except TailraceError:
            assert step in {"enospc", "eio", "short", "full"}
    writer.close()
    faults.write_error = faults.write_bytes = None
    start().close()
    reader = LogReader(folder)
    position, found, positions = 0, [], []
    while entries := reader.read(1, position, 100):
        found += [entry.record.body for entry in entries if entry.record is not None]
        positions += [entry.position for entry in entries]
        position = entries[-1].next_position
    reader.close()
    assert found == answered
    assert positions == sorted(set(positions))


def test_a_writer_whose_lock_was_deleted_acknowledges_nothing_more(
    open_writer: OpenWriter,
    make_record: MakeRecord,
    read_all: Callable[..., list[bytes]],
    log_folder: Path,
) -> None:
    stalled = open_writer()
    append(stalled, make_record("before"))
    (log_folder / "1" / "lock").unlink()
    after = open_writer()
    append(after, make_record("of the next"))
    with pytest.raises(LogBroken, match="another may write here"):
        append(stalled, make_record("too late"))
    append(after, make_record("and on"))
    stalled.close()
    after.close()
    open_writer()
    bodies = [make_record(text).body for text in ("before", "of the next", "and on")]
    assert read_all() == bodies


def test_what_is_written_while_another_takes_over_is_acknowledged_by_nobody(
    open_writer: OpenWriter,
    make_record: MakeRecord,
    read_all: Callable[..., list[bytes]],
    log_folder: Path,
) -> None:
    class Overtaken(Files):
        """Let another writer start just before the group is written, as after a long stall."""

        armed = False

        def open_append(self, path: Path) -> AppendFile:
            return Late(super().open_append(path), self)

    class Late(AppendFile):
        def __init__(self, plain: AppendFile, files: Overtaken) -> None:
            super().__init__(plain.path, plain._descriptor)
            self._files = files

        def write(self, data: bytes | bytearray | memoryview) -> int:
            if self._files.armed:
                self._files.armed = False
                (log_folder / "1" / "lock").unlink()
                others.append(open_writer())
                append(others[0], make_record("of the next"))
            return super().write(data)

    others: list[LogWriter] = []
    files = Overtaken()
    stalled = open_writer(files=files)
    append(stalled, make_record("before"))
    files.armed = True
    with pytest.raises(LogBroken, match="another may write here"):
        append(stalled, make_record("too late"))
    append(others[0], make_record("and on"))
    bodies = [make_record(text).body for text in ("before", "of the next", "and on")]
    assert read_all() == bodies
    stalled.close()
    others[0].close()
    open_writer()
    assert read_all() == bodies
