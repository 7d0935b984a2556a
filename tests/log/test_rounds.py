from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailrace.clock import MICROS, SteppedClock
from tailrace.files import Files
from tailrace.log import rounds
from tailrace.log.end import End
from tailrace.log.reader import LogReader
from tailrace.log.record import Entry, Record
from tailrace.log.rounds import Round, read_round
from tailrace.log.writer import LogWriter

MakeRecord = Callable[..., Record]
OpenWriter = Callable[..., LogWriter]


def append(writer: LogWriter, record: Record) -> int:
    return asyncio.run(writer.append(record))


def take(positions: dict[int, int], entries: list[Entry]) -> None:
    for entry in entries:
        assert entry.position >= positions.get(entry.partition, 0)
        positions[entry.partition] = entry.next_position


def texts(entries: list[Entry]) -> list[str]:
    return [entry.record.endpoint for entry in entries if entry.record is not None]


def record(text: str, size: int = 0) -> Record:
    return Record(1, 2, text, 3, None, "::1", 1, b"x" * size)


def test_partitions_are_merged_by_stamp(
    open_writer: OpenWriter, clock: SteppedClock, reader: LogReader
) -> None:
    writers = {1: open_writer(1), 2: open_writer(2)}
    for number in range(20):
        clock.advance(100)
        append(writers[1 + number % 3 % 2], record(str(number)))
    result = read_round(reader, {}, clock, 1 << 20)
    assert texts(result.entries) == [str(number) for number in range(20)]
    assert result.complete
    assert read_round(reader, positions_after(result), clock, 1 << 20).entries == []


def positions_after(result: Round) -> dict[int, int]:
    positions: dict[int, int] = {}
    take(positions, result.entries)
    return positions


def test_equal_stamps_are_ordered_by_partition(reader: LogReader) -> None:
    entries = [Entry(partition, 0, 1, stamp, None) for partition, stamp in [(2, 5), (1, 5), (3, 4)]]
    ordered = sorted(entries, key=rounds._order)
    assert [entry.partition for entry in ordered] == [3, 1, 2]


def test_entries_stamped_after_the_clock_wait_while_another_partition_is_silent(
    open_writer: OpenWriter, clock: SteppedClock, reader: LogReader
) -> None:
    first, _silent = open_writer(1), open_writer(2)
    clock.advance(MICROS)
    append(first, record("a"))
    clock.step(-10 * MICROS)
    append(first, record("b"))
    assert texts(read_round(reader, {}, clock, 1 << 20).entries) == []
    clock.advance(10 * MICROS + 1)
    assert texts(read_round(reader, {}, clock, 1 << 20).entries) == ["a", "b"]


def test_a_single_partition_never_waits_for_a_clock_that_was_set_back(
    open_writer: OpenWriter, clock: SteppedClock, reader: LogReader
) -> None:
    writer = open_writer()
    clock.step(-7200 * MICROS)
    append(writer, record("a"))
    assert texts(read_round(reader, {}, clock, 1 << 20).entries) == ["a"]


def test_partitions_that_all_go_on_never_wait_for_a_clock_that_was_set_back(
    open_writer: OpenWriter, clock: SteppedClock, reader: LogReader
) -> None:
    writers = [open_writer(1), open_writer(2), open_writer(3)]
    asyncio.run(writers[2].retire())
    clock.step(-7200 * MICROS)
    for number in range(6):
        append(writers[number % 2], record(str(number)))
    # All but the last, which the other partition has not passed yet.
    assert texts(read_round(reader, {}, clock, 1 << 20).entries) == list("01234")


def test_a_record_answered_while_the_ends_are_read_leaves_no_later_one_in_the_round(
    open_writer: OpenWriter, clock: SteppedClock, log_folder: Path
) -> None:
    writers = [open_writer(1), open_writer(2)]

    class Between(LogReader):
        """Let two records be answered after one partition's end is read, before the other's."""

        looks = 0

        def durable_ends(self) -> dict[int, End]:
            self.looks += 1
            before = super().durable_ends()
            if self.looks == 1:
                return before
            clock.advance(10)
            append(writers[0], record("sent first"))
            clock.advance(10)
            append(writers[1], record("sent second"))
            return {1: before[1], 2: super().durable_ends()[2]}

    clock.advance(10)
    result = read_round(Between(log_folder), {}, clock, 1 << 20)
    assert len(result.entries) == 2
    assert texts(result.entries) == []
    result = read_round(LogReader(log_folder), positions_after(result), clock, 1 << 20)
    assert texts(result.entries) == ["sent first", "sent second"]


def test_a_clock_set_back_during_the_look_counts_for_nothing(
    open_writer: OpenWriter, clock: SteppedClock, log_folder: Path
) -> None:
    writer, _silent = open_writer(1), open_writer(2)
    lowest = _silent.end.stamp
    clock.advance(MICROS)
    append(writer, record("a"))

    class SetBack(LogReader):
        def durable_ends(self) -> dict[int, End]:
            clock.step(-MICROS)
            return super().durable_ends()

    assert read_round(SetBack(log_folder), {}, clock, 1 << 20).time == lowest


def test_a_partition_that_did_not_fit_holds_the_others_back(
    open_writer: OpenWriter,
    clock: SteppedClock,
    reader: LogReader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rounds, "_SHARE_BYTES_MIN", 1)
    writers = [open_writer(1), open_writer(2)]
    for number in range(30):
        clock.advance(100)
        append(writers[0], record(f"long {number}", size=1_000))
        clock.advance(100)
        append(writers[1], record(f"short {number}"))
    positions: dict[int, int] = {}
    order: list[str] = []
    lengths = []
    while (result := read_round(reader, positions, clock, 8_000)).entries:
        take(positions, result.entries)
        order += texts(result.entries)
        lengths.append(len(result.entries))
    assert order == [f"{kind} {n}" for n in range(30) for kind in ("long", "short")]
    assert len(lengths) >= 5


steps = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 3), st.integers(0, 900)),
    st.tuples(st.just("round"), st.integers(1, 4_000), st.just(0)),
    st.tuples(st.just("back"), st.integers(0, 3 * MICROS), st.just(0)),
    st.tuples(st.just("restart"), st.integers(1, 3), st.just(0)),
)


@pytest.mark.slow  # some thousand syncs of real files
@settings(max_examples=25, deadline=None)
@given(st.lists(steps, max_size=40))
def test_records_sent_one_after_another_are_processed_in_that_order(
    tmp_path_factory: pytest.TempPathFactory, plan: list[tuple[str, int, int]]
) -> None:
    """Whatever the partitions, restarts, rounds and backward steps in between."""
    folder = tmp_path_factory.mktemp("log") / "log"
    clock = SteppedClock(1_770_000_000_000_000)

    def start(partition: int) -> LogWriter:
        return LogWriter.open(
            folder / str(partition), partition=partition, clock=clock, files=Files(), known_end=0
        )

    writers = {partition: start(partition) for partition in (1, 2, 3)}
    reader = LogReader(folder)
    positions: dict[int, int] = {}
    processed: list[str] = []
    sent = 0
    for kind, number, size in plan:
        clock.advance(7)
        if kind == "append":
            append(writers[number], record(str(sent), size))
            sent += 1
        elif kind == "round":
            entries = read_round(reader, positions, clock, number).entries
            take(positions, entries)
            processed += texts(entries)
        elif kind == "back":
            clock.step(-number)
        else:
            writers[number].close()
            writers[number] = start(number)
    clock.advance(3600 * MICROS)
    while entries := read_round(reader, positions, clock, 5_000).entries:
        take(positions, entries)
        processed += texts(entries)
    reader.close()
    for writer in writers.values():
        writer.close()
    assert processed == [str(number) for number in range(sent)]
