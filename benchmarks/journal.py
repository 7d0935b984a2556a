"""A log that a measure fills with request bodies and hands to a processor: real, but for time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from benchmarks.places import Place
from tailrace.clock import MICROS, Clock, SteppedClock
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.log.partitions import partition_folder
from tailrace.log.reader import LogReader
from tailrace.log.record import Entry, Position, Record
from tailrace.log.rounds import read_round
from tailrace.log.writer import LogWriter

PARTITION = 1
_PAUSE_MICROS = 2 * MICROS


class Journal:
    """One partition's writer; between two calls of `append` two seconds pass on its clock."""

    def __init__(self, place: Place, clock: SteppedClock, files: Files | None = None) -> None:
        self._place = place
        self._clock = clock
        self._runner = asyncio.Runner()
        self._writer = LogWriter.open(
            partition_folder(DataFolder(place.path).log, PARTITION),
            partition=PARTITION,
            clock=clock,
            files=files or Files(),
            known_end=0,
        )

    def append(self, bodies: Sequence[bytes], events_each: int) -> None:
        """Store the bodies, each of `events_each` events, as requests accepted now."""
        self._clock.advance(_PAUSE_MICROS)
        now = self._clock.now_micros()
        records = [self._record(body, events_each, now) for body in bodies]
        self._runner.run(self._append(records))

    async def _append(self, records: Sequence[Record]) -> None:
        await asyncio.gather(*(self._writer.append(record) for record in records))

    def _record(self, body: bytes, events: int, now_micros: int) -> Record:
        return Record(
            organization=self._place.organization,
            project=self._place.project,
            endpoint="/2/httpapi",
            received_micros=now_micros,
            client_upload_micros=None,
            client_address="198.51.100.7",
            events=events,
            body=body,
        )

    def close(self) -> None:
        """Give everything back."""
        self._writer.close()
        self._runner.close()


class LogRounds:
    """The log as a processor reads it."""

    def __init__(self, reader: LogReader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock

    def read_round(self, positions: Mapping[int, Position], limit_bytes: int) -> Sequence[Entry]:
        """Return the next entries of all partitions."""
        reached = {partition: place.position for partition, place in positions.items()}
        return read_round(self._reader, reached, self._clock, limit_bytes).entries
