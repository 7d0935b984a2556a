"""What the tests of the log share: a stepped clock, a folder, writers and records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tailrace.clock import SteppedClock, to_micros
from tailrace.files import Files
from tailrace.hours import Hour
from tailrace.log.reader import LogReader
from tailrace.log.record import Record
from tailrace.log.writer import LogWriter


@pytest.fixture
def clock() -> SteppedClock:
    """Half a minute before an hour's end."""
    return SteppedClock(to_micros(Hour.parse("2026-01-02T13").start) + 3_570_000_000)


@pytest.fixture
def log_folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def make_record() -> Callable[..., Record]:
    def make(text: str = "a", *, size: int = 0) -> Record:
        body = b'{"events":["' + text.encode() + b"x" * size + b'"]}'
        return Record(100001, 300001, "/2/httpapi", 1_000, None, "127.0.0.1", 1, body)

    return make


@pytest.fixture
def open_writer(log_folder: Path, clock: SteppedClock) -> Iterator[Callable[..., LogWriter]]:
    """Open writers; those that a test leaves open are closed after it."""
    opened: list[LogWriter] = []

    def open_one(partition: int = 1, **options: object) -> LogWriter:
        arguments: dict[str, object] = {"clock": clock, "files": Files(), "known_end": 0}
        arguments |= options
        writer = LogWriter.open(
            log_folder / str(partition),
            partition=partition,
            **arguments,  # type: ignore[arg-type]  # each test passes what `open` takes
        )
        opened.append(writer)
        return writer

    yield open_one
    for writer in opened:
        if not writer.closed:
            writer.close()


@pytest.fixture
def reader(log_folder: Path) -> Iterator[LogReader]:
    reader = LogReader(log_folder)
    yield reader
    reader.close()


@pytest.fixture
def read_all(log_folder: Path) -> Callable[..., list[bytes]]:
    """Return the bodies of all durable records of a partition."""

    def read(partition: int = 1) -> list[bytes]:
        reader = LogReader(log_folder)
        bodies: list[bytes] = []
        position = 0
        while entries := reader.read(partition, position, 1 << 20):
            bodies += [entry.record.body for entry in entries if entry.record is not None]
            position = entries[-1].next_position
        reader.close()
        return bodies

    return read
