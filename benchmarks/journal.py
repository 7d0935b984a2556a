"""A log that a measure fills with request bodies and reads back: real segments, a stepped clock."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tailrace.clock import MICROS, SteppedClock
from tailrace.files import Files
from tailrace.log.record import Record
from tailrace.log.writer import LogWriter

ORGANIZATION = 100_001
PROJECT = 300_001
_ROUND_SECONDS = 30


class Journal:
    """One partition's writer; each `append` takes half a minute of the clock."""

    def __init__(self, log_folder: Path, clock: SteppedClock) -> None:
        self._clock = clock
        self._runner = asyncio.Runner()
        self._writer = LogWriter.open(
            log_folder / "1", partition=1, clock=clock, files=Files(), known_end=0
        )

    def append(self, bodies: Sequence[bytes], events_each: int) -> None:
        """Store the bodies, each of `events_each` events, as requests accepted now."""
        self._clock.advance(_ROUND_SECONDS * MICROS)
        now = self._clock.now_micros()
        self._runner.run(self._append([_record(body, events_each, now) for body in bodies]))

    async def _append(self, records: Sequence[Record]) -> None:
        await asyncio.gather(*(self._writer.append(record) for record in records))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._writer.close()
        self._runner.close()


def _record(body: bytes, events: int, now_micros: int) -> Record:
    return Record(
        organization=ORGANIZATION,
        project=PROJECT,
        endpoint="/2/httpapi",
        received_micros=now_micros,
        client_upload_micros=None,
        client_address="198.51.100.7",
        events=events,
        body=body,
    )
