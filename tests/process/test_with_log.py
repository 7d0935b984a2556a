"""The processor over the real log: writers of two partitions, the reader, and rounds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tailrace.clock import Clock
from tailrace.errors import Corrupt
from tailrace.log.reader import LogReader
from tailrace.log.record import Entry, Position, Record
from tailrace.log.rounds import read_round
from tailrace.log.writer import LogWriter


class LogRounds:
    """The log as the processor reads it, in rounds of few bytes."""

    def __init__(self, reader: LogReader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock

    def read_round(self, positions: Mapping[int, Position], limit_bytes: int) -> Sequence[Entry]:
        reached = {partition: place.position for partition, place in positions.items()}
        return read_round(self._reader, reached, self._clock, 2_000).entries


def record(bench: Any, n: int) -> Record:
    events = [
        {"device_id": f"device-{n % 7}", "event_type": "buy", "event_id": n, "insert_id": str(n)}
    ]
    body = json.dumps({"events": events}).encode()
    now = bench.clock.now_micros()
    return Record(bench.organization, bench.project, "/batch", now, None, "203.0.113.7", 1, body)


def test_records_of_two_collectors_are_exported_once_in_the_order_of_their_answers(
    bench: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "log"
    writers = [
        LogWriter.open(
            folder / str(n), partition=n, clock=bench.clock, files=bench.files, known_end=0
        )
        for n in (1, 2)
    ]
    reader = LogReader(folder)
    bench.log = LogRounds(reader, bench.clock)
    bench.crash()

    async def run() -> None:
        for n in range(60):
            bench.clock.advance(1000)
            # Every tenth is sent again, to the other collector.
            await writers[n % 2].append(record(bench, n))
            if n % 10 == 0:
                await writers[(n + 1) % 2].append(record(bench, n))
            if n % 7 == 0:
                bench.processor.run_round()
            if n % 13 == 0:
                bench.processor.checkpoint()
            if n % 17 == 0:
                bench.crash()

    asyncio.run(run())
    for writer in writers:
        writer.close()
    bench.clock.advance(1_000_000)
    bench.run()

    assert [line["event_id"] for line in bench.lines()] == list(range(60))
    assert bench.counts() | {"accepted": 66, "exported": 60, "duplicates": 6} == bench.counts()
    for place in bench.processor.positions.values():
        reader.check_position(place)
    ends = reader.durable_ends()
    committed = bench.store.positions()
    assert {n: place.position for n, place in committed.items()} == {
        n: end.position for n, end in ends.items()
    }
    reader.close()


def test_a_position_beyond_the_log_is_refused(bench: Any, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    LogWriter.open(
        folder / "1", partition=1, clock=bench.clock, files=bench.files, known_end=0
    ).close()
    bench.store.connection.execute("INSERT INTO position VALUES (1, 1000000, 1)")
    bench.crash()
    reader = LogReader(folder)

    (place,) = bench.processor.positions.values()
    with pytest.raises(Corrupt, match="was processed before"):
        reader.check_position(place)
    reader.close()
