"""Clocks that step, stand and are accepted, between the looks of two collectors and a reader."""

from __future__ import annotations

import asyncio
import os
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailrace.clock import MICROS, SteppedClock
from tailrace.errors import ClockStepped
from tailrace.files import Files
from tailrace.hours import HOUR_MICROS, Hour
from tailrace.log.reader import LogReader
from tailrace.log.record import Record
from tailrace.log.rounds import read_round
from tailrace.log.stamping import (
    FORWARD_AFTER_START_MICROS_MAX,
    FORWARD_MICROS_MAX,
    accept_clock,
)
from tailrace.log.writer import LogWriter
from tests.faults.bucket import Bucket
from tests.faults.life import Life, shrink
from tests.faults.story import begin, heal, pass_seconds, post

LONG = os.environ.get("TAILRACE_LONG") == "1"
SECOND = MICROS
DAY = 24 * HOUR_MICROS
START = Hour.parse("2026-11-23T13").end_micros - 20 * SECOND


class Unsynced(Files):
    """Real files whose syncs are left out: no power fails here."""

    def sync_descriptor(self, descriptor: int) -> None:
        """Wait for nothing."""

    def sync_folder(self, path: Path) -> None:
        """Wait for nothing."""


class Watched:
    """Two collectors and a reader, and what must hold of every stamp."""

    def __init__(self, folder: Path) -> None:
        self.clock = SteppedClock(START)
        self.folder = folder / "log"
        self.writers = {partition: self._open(partition) for partition in (1, 2)}
        self.reader = LogReader(self.folder)
        self.positions: dict[int, int] = {}
        self.reached: dict[int, int] = {}
        self.processed: list[int] = []
        self.sent: list[int] = []
        self.refused = 0
        self.highest = max(writer.end.stamp for writer in self.writers.values())
        self.left = Hour(0)
        # How far the next stamp may lie above the highest one.
        self.room = 1
        # Started while its clock was behind the log: a week is believed until it is right again.
        self.believing: set[int] = set()

    def _open(self, partition: int) -> LogWriter:
        return LogWriter.open(
            self.folder / str(partition),
            partition=partition,
            clock=self.clock,
            files=Unsynced(),
            known_end=0,
        )

    def append(self, partition: int) -> None:
        record = Record(1, 2, str(len(self.sent)), 3, None, "::1", 1, b"")
        try:
            stamp = asyncio.run(self.writers[partition].append(record))
        except ClockStepped:
            self.refused += 1
            return
        # It was sent after the one before was answered, by whichever collector.
        assert stamp > self.highest
        assert stamp - self.highest <= self.room
        assert Hour.of_micros(stamp) > self.left
        self.sent.append(stamp)
        self.reach(partition, stamp)

    def reach(self, partition: int, stamp: int) -> None:
        self.highest, self.room = stamp, 1
        if self.clock.now_micros() >= stamp:
            self.believing.discard(partition)
        if self.believing:
            self.room += FORWARD_AFTER_START_MICROS_MAX

    def tick(self, partition: int) -> None:
        """Let one collector look; a tick may take time into the log, but no more than a record."""
        asyncio.run(self.writers[partition].tick_if_due())
        stamp = self.writers[partition].end.stamp
        assert stamp - self.highest <= self.room
        if stamp > self.highest:
            self.reach(partition, stamp)

    def look(self) -> None:
        """Process a round, and leave the hours that all partitions have passed."""
        entries = read_round(self.reader, self.positions, self.clock, 4_000).entries
        for entry in entries:
            assert entry.position >= self.positions.get(entry.partition, 0)
            assert Hour.of_micros(entry.stamp) > self.left
            self.positions[entry.partition] = entry.next_position
            self.reached[entry.partition] = entry.stamp
            if entry.record is not None:
                self.processed.append(int(entry.record.endpoint))
        if self.reached.keys() == {1, 2}:
            left = Hour.of_micros(min(self.reached.values())).previous()
            assert left >= self.left
            self.left = left

    def advance(self, micros: int) -> None:
        self.clock.advance(micros)
        self.room += micros

    def step(self, micros: int) -> None:
        self.clock.step(micros)
        # Each collector's next look may take a small step for slewing, once.
        self.room += 2 * FORWARD_MICROS_MAX

    def restart(self, partition: int) -> None:
        self.writers[partition].close()
        self.writers[partition] = self._open(partition)
        # Steady time does not outlive a start; what lies within a week of the log is believed.
        self.room += FORWARD_AFTER_START_MICROS_MAX
        if self.highest - self.clock.now_micros() > FORWARD_MICROS_MAX:
            self.believing.add(partition)
        self.highest = max(self.highest, self.writers[partition].end.stamp)

    def accept(self) -> None:
        accept_clock(self.folder, self.clock, Unsynced())
        self.advance(2 * SECOND)
        self.room += 10_000 * DAY

    def close(self) -> None:
        self.reader.close()
        for writer in self.writers.values():
            writer.close()


sizes = st.one_of(
    st.integers(-10 * SECOND, 10 * SECOND),
    st.sampled_from([5 * SECOND, 5 * SECOND + 1, 20 * SECOND, 20 * SECOND - 1, -1, 1]),
    st.integers(-5, 5).map(lambda hours: hours * HOUR_MICROS),
    st.integers(-12, 12).map(lambda days: days * DAY),
)
partitions = st.integers(1, 2)
steps = st.one_of(
    st.tuples(st.just("append"), partitions),
    st.tuples(st.just("append"), partitions),
    st.tuples(st.just("look"), st.just(0)),
    st.tuples(st.just("tick"), partitions),
    st.tuples(st.just("step"), sizes),
    st.tuples(st.just("advance"), sizes.map(abs)),
    st.tuples(st.just("restart"), partitions),
    st.tuples(st.just("accept"), st.just(0)),
)


@pytest.mark.slow  # dozens of lives with some dozens of writes each
@settings(max_examples=300 if LONG else 60, deadline=None)
@given(plan=st.lists(steps, max_size=40))
def test_whatever_the_clock_does_stamps_grow_and_no_left_hour_gets_a_record(
    tmp_path_factory: pytest.TempPathFactory, plan: list[tuple[str, int]]
) -> None:
    watched = Watched(tmp_path_factory.mktemp("clock"))
    try:
        for name, value in plan:
            if name in ("look", "accept"):
                getattr(watched, name)()
            else:
                getattr(watched, name)(value)
        # At last the clock is right and accepted, and everything is processed, in its order.
        watched.clock.step(max(0, watched.highest - watched.clock.now_micros()))
        for partition in (1, 2):
            watched.tick(partition)
        watched.accept()
        for partition in (1, 2):
            watched.append(partition)
        watched.advance(SECOND)
        before = -1
        while len(watched.processed) > before:
            before = len(watched.processed)
            watched.look()
        assert watched.processed == list(range(len(watched.sent)))
        assert len(watched.sent) >= 2
    finally:
        watched.close()


SIZES = [-3, -2 * 3600, -3 * 86400, 3, 2 * 3600, 30 * 86400]
BEFORE = [600 * SECOND, 1, 0, -SECOND]
AROUND = [(size, left) for size in SIZES for left in BEFORE]


@pytest.mark.parametrize(("seconds", "left_micros"), AROUND if LONG else AROUND[1::4])
@pytest.mark.slow  # each is a life of some hours
def test_a_step_around_an_hours_end_loses_and_doubles_nothing(
    tmp_path: Path, seconds: int, left_micros: int
) -> None:
    shrink()
    life = Life(tmp_path / "data", Bucket(tmp_path / "bucket"))
    begin(life)
    requests = count()
    post(life, requests, 2)
    now = life.clock.now_micros()
    life.clock.advance(Hour.of_micros(now).end_micros - left_micros - now)
    life.post(1, next(requests))
    # One collector looks before the step, the other only after it.
    life.clock.step(seconds * SECOND)
    life.post(2, next(requests))
    life.tick()
    life.process()
    pass_seconds(life, 31)
    post(life, requests, 2)
    life.process()
    life.deliver()
    refused = bool(life.answers.refused)
    assert refused == (seconds > 5)

    # The clock is set right again: nothing has to be accepted, and time goes on.
    life.clock.step(-seconds * SECOND)
    pass_seconds(life, 31)
    life.tick()
    hours = heal(life)
    assert len({hour.record.hour for hour in hours}) == len(hours)
