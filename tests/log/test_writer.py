from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tailrace.clock import MICROS, SteppedClock
from tailrace.errors import BadRequest, ClockStepped, DiskReserve, InUse, Transient
from tailrace.files import AppendFile, Files
from tailrace.hours import Hour
from tailrace.log import writer as writer_module
from tailrace.log.frame import PAYLOAD_BYTES_MAX
from tailrace.log.partitions import PARTITIONS_FILE, list_partitions
from tailrace.log.reader import LogReader
from tailrace.log.record import Entry, Record
from tailrace.log.stamping import accept_clock
from tailrace.log.writer import LogWriter

MakeRecord = Callable[..., Record]
OpenWriter = Callable[..., LogWriter]


class CountingFiles(Files):
    """Count the writes and syncs of segments; hold a sync while `gate` is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.syncs = 0
        self.gate = threading.Event()
        self.gate.set()
        self.held = threading.Event()

    def open_append(self, path: Path) -> AppendFile:
        plain = super().open_append(path)
        return CountingFile(plain, self)


class CountingFile(AppendFile):
    def __init__(self, plain: AppendFile, counts: CountingFiles) -> None:
        super().__init__(plain.path, plain._descriptor)
        self._counts = counts

    def write(self, data: bytes | bytearray | memoryview) -> int:
        self._counts.writes += 1
        return super().write(data)

    def sync_data(self) -> None:
        self._counts.held.set()
        self._counts.gate.wait()
        self._counts.syncs += 1
        super().sync_data()


def entries_of(reader: LogReader, partition: int = 1) -> list[Entry]:
    entries: list[Entry] = []
    while more := reader.read(partition, entries[-1].next_position if entries else 0, 1 << 20):
        entries += more
    return entries


def test_an_append_returns_the_stamp_of_a_durable_entry(
    open_writer: OpenWriter, make_record: MakeRecord, reader: LogReader, clock: SteppedClock
) -> None:
    writer = open_writer()
    clock.advance(MICROS)
    stamp = asyncio.run(writer.append(make_record("b")))
    entry = entries_of(reader)[-1]
    assert stamp == clock.now_micros() == entry.stamp
    assert entry.record == make_record("b")
    assert (entry.next_position, stamp) == (writer.end.position, writer.end.stamp)


def test_appends_that_wait_share_one_write_and_one_sync(
    open_writer: OpenWriter, make_record: MakeRecord, read_all: Callable[..., list[bytes]]
) -> None:
    files = CountingFiles()
    writer = open_writer(files=files)

    async def main() -> tuple[int, int, list[int]]:
        files.gate.clear()
        files.held.clear()
        first = asyncio.ensure_future(writer.append(make_record("first")))
        await asyncio.get_running_loop().run_in_executor(None, files.held.wait)
        rest = [asyncio.ensure_future(writer.append(make_record(str(i)))) for i in range(50)]
        await asyncio.sleep(0)
        before = files.writes, files.syncs
        files.gate.set()
        stamps = [await first, *await asyncio.gather(*rest)]
        return files.writes - before[0], files.syncs - before[1], stamps

    writes, syncs, stamps = asyncio.run(main())
    assert (writes, syncs) == (1, 2)
    assert stamps == sorted(set(stamps))
    texts = ["first", *map(str, range(50))]
    assert read_all() == [make_record(text).body for text in texts]


def test_all_appends_of_one_turn_of_the_loop_are_one_group(
    open_writer: OpenWriter, make_record: MakeRecord, read_all: Callable[..., list[bytes]]
) -> None:
    files = CountingFiles()
    writer = open_writer(files=files)
    before = files.writes, files.syncs
    files.held.clear()

    async def main() -> tuple[bool, list[int]]:
        first = writer.submit(make_record("first"))
        # The loop's turn is not over: what is sent now belongs to the same group.
        early = files.held.wait(0.1)
        second = writer.submit(make_record("second"))
        return early, [await first, await second]

    early, stamps = asyncio.run(main())
    assert not early
    assert (files.writes, files.syncs) == (before[0] + 1, before[1] + 1)
    assert stamps == sorted(set(stamps))
    assert read_all() == [make_record("first").body, make_record("second").body]


def test_what_arrived_before_the_close_is_stored(
    open_writer: OpenWriter, make_record: MakeRecord, read_all: Callable[..., list[bytes]]
) -> None:
    writer = open_writer()

    async def main() -> int:
        stamp = writer.submit(make_record("last"))
        writer.close()
        with pytest.raises(Transient, match="closing"):
            writer.submit(make_record("later"))
        return await stamp

    assert asyncio.run(main()) == writer.end.stamp
    assert read_all() == [make_record("last").body]


def test_a_loop_that_ended_before_it_handed_over_holds_nobody_up(
    open_writer: OpenWriter, make_record: MakeRecord, read_all: Callable[..., list[bytes]]
) -> None:
    writer = open_writer()
    ended = asyncio.new_event_loop()

    async def leave() -> None:
        writer.submit(make_record("left"))
        ended.stop()

    leaving = ended.create_task(leave())
    ended.run_forever()
    ended.close()
    assert leaving.done()
    asyncio.run(writer.append(make_record("next")))
    assert read_all() == [make_record("left").body, make_record("next").body]


def test_an_answer_waits_for_the_sync(open_writer: OpenWriter, make_record: MakeRecord) -> None:
    files = CountingFiles()
    writer = open_writer(files=files)

    async def main() -> tuple[bool, int]:
        files.gate.clear()
        files.held.clear()
        end = writer.end
        waiting = asyncio.ensure_future(writer.append(make_record()))
        await asyncio.get_running_loop().run_in_executor(None, files.held.wait)
        await asyncio.sleep(0)
        early = waiting.done() or writer.end != end
        files.gate.set()
        return early, await waiting

    early, stamp = asyncio.run(main())
    assert not early
    assert stamp == writer.end.stamp


def test_a_caller_that_goes_away_leaves_its_record_stored(
    open_writer: OpenWriter, make_record: MakeRecord, read_all: Callable[..., list[bytes]]
) -> None:
    files = CountingFiles()
    writer = open_writer(files=files)

    async def main() -> None:
        files.gate.clear()
        files.held.clear()
        gone = asyncio.ensure_future(writer.append(make_record("gone")))
        await asyncio.get_running_loop().run_in_executor(None, files.held.wait)
        gone.cancel()
        stays = asyncio.ensure_future(writer.append(make_record("stays")))
        await asyncio.sleep(0)
        files.gate.set()
        await stays

    asyncio.run(main())
    assert read_all() == [make_record("gone").body, make_record("stays").body]


def test_more_than_the_queue_holds_is_refused(
    open_writer: OpenWriter, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "WAITING_BYTES_MAX", 1_000)
    writer = open_writer()
    with pytest.raises(Transient, match="Try again later"):
        asyncio.run(writer.append(make_record(size=2_000)))


def test_a_record_over_the_frames_limit_is_refused_and_the_next_is_stored(
    open_writer: OpenWriter, make_record: MakeRecord, read_all: Callable[..., list[bytes]]
) -> None:
    writer = open_writer()
    with pytest.raises(BadRequest):
        asyncio.run(writer.append(make_record(size=PAYLOAD_BYTES_MAX)))
    asyncio.run(writer.append(make_record("small")))
    assert read_all() == [make_record("small").body]


def test_the_largest_request_is_stored(
    open_writer: OpenWriter, make_record: MakeRecord, read_all: Callable[..., list[bytes]]
) -> None:
    record = make_record(size=20 * 1024 * 1024)
    asyncio.run(open_writer().append(record))
    assert read_all() == [record.body]


def test_a_partition_has_one_writer(open_writer: OpenWriter) -> None:
    first = open_writer()
    with pytest.raises(InUse, match="log partition 1"):
        open_writer()
    first.close()
    open_writer()


def test_segments_follow_one_another_and_lose_nothing(
    open_writer: OpenWriter,
    make_record: MakeRecord,
    read_all: Callable[..., list[bytes]],
    log_folder: Path,
) -> None:
    writer = open_writer(segment_bytes=500)
    records = [make_record(str(i), size=100) for i in range(40)]
    for record in records:
        asyncio.run(writer.append(record))
    assert len(list((log_folder / "1").glob("*.log"))) >= 10
    assert read_all() == [record.body for record in records]


def test_without_room_appends_stop_and_ticks_go_on(
    open_writer: OpenWriter, make_record: MakeRecord, clock: SteppedClock
) -> None:
    room = True
    writer = open_writer(has_room=lambda: room)
    room = False
    end = writer.end
    with pytest.raises(DiskReserve, match="disk"):
        asyncio.run(writer.append(make_record()))
    assert writer.end == end
    clock.advance(60 * MICROS)
    assert asyncio.run(writer.tick_if_due())


def test_an_empty_partition_begins_with_a_tick(
    open_writer: OpenWriter, reader: LogReader, clock: SteppedClock
) -> None:
    open_writer()
    (entry,) = entries_of(reader)
    assert entry.record is None
    assert not entry.final
    assert entry.stamp == clock.now_micros()


def test_a_tick_comes_once_right_after_the_hours_end(
    open_writer: OpenWriter, clock: SteppedClock, reader: LogReader
) -> None:
    writer = open_writer()
    clock.advance(30 * MICROS - 1)
    ticks = [asyncio.run(writer.tick_if_due())]
    clock.advance(1)
    ticks += [asyncio.run(writer.tick_if_due()) for _ in range(3)]
    assert ticks == [False, True, False, False]
    assert entries_of(reader)[-1].stamp == Hour.parse("2026-01-02T14").start_micros


def test_no_tick_follows_a_record_of_the_new_hour(
    open_writer: OpenWriter, make_record: MakeRecord, clock: SteppedClock
) -> None:
    writer = open_writer()
    clock.advance(31 * MICROS)
    asyncio.run(writer.append(make_record()))
    assert not asyncio.run(writer.tick_if_due())


@pytest.mark.parametrize(("passed", "entries"), [(29 * MICROS, 1), (31 * MICROS, 2)])
def test_a_start_writes_a_tick_only_if_an_hour_ended(
    open_writer: OpenWriter,
    clock: SteppedClock,
    reader: LogReader,
    passed: int,
    entries: int,
) -> None:
    open_writer().close()
    clock.advance(passed)
    open_writer()
    assert len(entries_of(reader)) == entries


def test_nothing_is_written_while_nothing_is_due(open_writer: OpenWriter) -> None:
    files = CountingFiles()
    writer = open_writer(files=files)
    before = files.writes, files.syncs
    for _ in range(5):
        asyncio.run(writer.tick_if_due())
    assert (files.writes, files.syncs) == before


def test_a_clock_that_jumps_stops_appends_and_ticks_until_it_is_accepted(
    open_writer: OpenWriter, make_record: MakeRecord, clock: SteppedClock, log_folder: Path
) -> None:
    writer = open_writer()
    end = writer.end
    clock.step(3600 * MICROS)
    assert not asyncio.run(writer.tick_if_due())
    assert writer.clock_state.condition == "stepped"
    with pytest.raises(ClockStepped, match="tailrace clock accept"):
        asyncio.run(writer.append(make_record()))
    assert writer.end == end
    accept_clock(log_folder, clock, Files())
    clock.advance(MICROS)
    assert asyncio.run(writer.tick_if_due())
    assert asyncio.run(writer.append(make_record())) == clock.now_micros() + 1


def test_a_jump_is_noticed_by_the_first_append_too(
    open_writer: OpenWriter, make_record: MakeRecord, clock: SteppedClock
) -> None:
    writer = open_writer()
    clock.step(6 * MICROS)
    with pytest.raises(ClockStepped):
        asyncio.run(writer.append(make_record()))


def test_a_backward_step_freezes_the_stamps_and_nothing_is_refused(
    open_writer: OpenWriter, make_record: MakeRecord, clock: SteppedClock
) -> None:
    writer = open_writer()
    last = writer.end.stamp
    clock.step(-7200 * MICROS)
    assert asyncio.run(writer.append(make_record())) == last + 1
    assert asyncio.run(writer.append(make_record())) == last + 2
    clock.advance(5 * MICROS)
    asyncio.run(writer.tick_if_due())
    assert writer.clock_state.condition == "behind"
    assert writer.clock_state.alarm


def test_a_restart_goes_on_after_the_last_stamp(
    open_writer: OpenWriter, make_record: MakeRecord, clock: SteppedClock
) -> None:
    writer = open_writer()
    stamp = asyncio.run(writer.append(make_record()))
    writer.close()
    clock.step(-3600 * MICROS)
    assert asyncio.run(open_writer().append(make_record())) == stamp + 1


def test_a_start_eight_days_later_waits_for_the_operator(
    open_writer: OpenWriter, make_record: MakeRecord, clock: SteppedClock
) -> None:
    open_writer().close()
    clock.step(8 * 86_400 * MICROS)
    writer = open_writer()
    with pytest.raises(ClockStepped):
        asyncio.run(writer.append(make_record()))


def test_a_record_sent_after_anothers_answer_has_the_later_stamp_in_any_partition(
    open_writer: OpenWriter, make_record: MakeRecord, clock: SteppedClock
) -> None:
    writers = [open_writer(1), open_writer(2), open_writer(3)]
    clock.advance(60 * MICROS)
    asyncio.run(writers[0].append(make_record()))
    clock.step(-3000 * MICROS)
    stamps = [asyncio.run(writers[i % 3].append(make_record())) for i in range(12)]
    assert stamps == sorted(set(stamps))


def test_a_new_partition_begins_after_all_others_even_if_the_clock_lies_behind(
    open_writer: OpenWriter, clock: SteppedClock
) -> None:
    first = open_writer(1)
    clock.advance(31 * MICROS)
    asyncio.run(first.tick_if_due())
    clock.step(-600 * MICROS)
    assert open_writer(2).end.stamp > first.end.stamp


def test_an_append_that_cannot_see_the_other_partitions_stores_nothing(
    open_writer: OpenWriter,
    make_record: MakeRecord,
    log_folder: Path,
    read_all: Callable[..., list[bytes]],
) -> None:
    writer = open_writer()
    listed = log_folder / PARTITIONS_FILE
    listed.rename(log_folder / "away")
    with pytest.raises(Transient, match="Nothing was stored"):
        asyncio.run(writer.append(make_record("a")))
    (log_folder / "away").rename(listed)
    asyncio.run(writer.append(make_record("b")))
    assert read_all() == [make_record("b").body]


def test_a_writer_lists_its_partition(open_writer: OpenWriter, log_folder: Path) -> None:
    open_writer(2)
    open_writer(1)
    assert [listed.id for listed in list_partitions(log_folder)] == [1, 2]


def test_what_waits_at_the_close_is_stored_and_what_comes_after_is_refused(
    open_writer: OpenWriter, make_record: MakeRecord, read_all: Callable[..., list[bytes]]
) -> None:
    async def main() -> None:
        writer = open_writer()
        waiting = [asyncio.ensure_future(writer.append(make_record(str(i)))) for i in range(20)]
        await asyncio.sleep(0)
        writer.close()
        await asyncio.gather(*waiting)
        with pytest.raises(Transient, match="closing"):
            await writer.append(make_record("late"))

    asyncio.run(main())
    assert read_all() == [make_record(str(i)).body for i in range(20)]
