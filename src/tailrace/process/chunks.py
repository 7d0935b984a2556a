"""Open project-hours, and the chunks that a checkpoint makes of their lines.

A chunk is a raw deflate stream ended by a full flush; chunks join byte for byte into one gzip
member, in any number, and so does a chunk made of several.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence

import msgspec
from isal import isal_zlib

from tailrace.errors import Corrupt
from tailrace.process.layout import Layout, layout_of
from tailrace.state.processing import HourSettings
from tailrace.state.processing_rows import ChunkRow

# ISA-L's fastest level: 12 times zlib-6's speed, files 1.26 times larger.
COMPRESSION_LEVEL = 1
RAW_DEFLATE = -15

# Chunks under this deflate badly and make a file's join long; together this large they become one.
SMALL_RAW_BYTES = 1024 * 1024

# Raw lines go to the compressor in pieces of about this size, so that they are never held twice.
_PIECE_BYTES = 1024 * 1024

# Ends a deflate stream behind a full flush: an empty last block.
_LAST_BLOCK = b"\x03\x00"


class Tally(msgspec.Struct):
    """What became of accepted events: accepted is the sum of the other five (promise 2)."""

    accepted: int = 0
    exported: int = 0
    duplicates: int = 0
    identifies: int = 0
    filtered: int = 0
    held: int = 0

    def add(self, other: Tally) -> None:
        """Count another tally's events too, all but `accepted`, which only headers say."""
        self.exported += other.exported
        self.duplicates += other.duplicates
        self.identifies += other.identifies
        self.filtered += other.filtered
        self.held += other.held

    def balances(self) -> bool:
        """Say whether every accepted event is accounted for."""
        return self.accepted == (
            self.exported + self.duplicates + self.identifies + self.filtered + self.held
        )


class OpenHour(msgspec.Struct):
    """A project's hour: its lines that are in no pack, and what all since the last checkpoint add
    to its counts.
    """

    project: int
    hour: int
    organization: int
    settings: HourSettings
    layout: Layout
    lines: deque[bytes]
    dates: Counter[str]
    tally: Tally
    raw_bytes: int = 0
    line_count: int = 0
    first_stamp: int = 0
    last_stamp: int = 0
    small_bytes: int = 0

    def accept(self, events: int, stamp: int) -> None:
        """Count what a record's header says it holds, before it is decoded (promise 2)."""
        self.tally.accepted += events
        self.first_stamp = min(stamp, self.first_stamp or stamp)
        self.last_stamp = max(stamp, self.last_stamp)

    def packed(self) -> None:
        """Begin anew with lines: those before went into a pack."""
        self.raw_bytes = 0
        self.line_count = 0

    def saved(self) -> None:
        """Begin anew with counts, after a commit."""
        self.dates.clear()
        self.tally = Tally()
        self.first_stamp = 0


def open_hour(
    project: int, hour: int, organization: int, settings: HourSettings, small_bytes: int
) -> OpenHour:
    """Return a project's hour with nothing in it yet."""
    return OpenHour(
        project,
        hour,
        organization,
        settings,
        layout_of(settings),
        deque(),
        Counter(),
        Tally(),
        small_bytes=small_bytes,
    )


class Deflater:
    """Makes chunks, with one compressor: a full flush leaves nothing of the chunk before in it."""

    def __init__(self) -> None:
        self._compressor = isal_zlib.compressobj(COMPRESSION_LEVEL, isal_zlib.DEFLATED, RAW_DEFLATE)

    def deflate(self, pieces: Iterator[bytes]) -> tuple[list[bytes], int, int]:
        """Return a chunk's bytes in parts, the CRC32 of its raw lines, and their length."""
        parts: list[bytes] = []
        crc, raw_length = 0, 0
        for piece in pieces:
            crc = isal_zlib.crc32(piece, crc)
            raw_length += len(piece)
            parts.append(self._compressor.compress(piece))
        parts.append(self._compressor.flush(isal_zlib.Z_FULL_FLUSH))
        return parts, crc, raw_length


def drained(lines: deque[bytes]) -> Iterator[bytes]:
    """Yield lines in pieces of about 1 MiB, giving each up as it goes."""
    while lines:
        piece: list[bytes] = []
        size = 0
        while lines and size < _PIECE_BYTES:
            part = lines.popleft()
            piece.append(part)
            size += len(part)
        yield b"".join(piece)


def mergeable(newest_first: Sequence[ChunkRow], reserved: set[int]) -> list[ChunkRow]:
    """Return the newest run of small chunks that together reach 1 MiB, in order of lines.

    The run ends before a chunk that is large or in use: lines must stay in log order.
    """
    run: list[ChunkRow] = []
    for row in newest_first:
        if row.raw_length >= SMALL_RAW_BYTES or row.id in reserved:
            break
        run.append(row)
    if len(run) < 2 or sum(row.raw_length for row in run) < SMALL_RAW_BYTES:
        return []
    return run[::-1]


def inflate(rows: Sequence[ChunkRow], chunks: Sequence[bytes]) -> bytes:
    """Return the raw lines of neighbouring chunks; raise `Corrupt` if they were changed."""
    crc = 0
    for row in rows:
        crc = isal_zlib.crc32_combine(crc, row.crc, row.raw_length)
    try:
        raw = isal_zlib.decompress(b"".join(chunks) + _LAST_BLOCK, RAW_DEFLATE)
    except isal_zlib.error as error:  # type: ignore[misc]  # the stubs declare it as a value
        raise _damaged(rows, str(error)) from error
    if isal_zlib.crc32(raw) != crc or len(raw) != sum(row.raw_length for row in rows):
        raise _damaged(rows, "the checksum of its lines is not as recorded")
    return raw


def _damaged(rows: Sequence[ChunkRow], why: str) -> Corrupt:
    packs = ", ".join(sorted({row.pack for row in rows}))
    return Corrupt(
        f"Cannot read lines of project {rows[0].project} from pack {packs}: {why}. "
        "Restore the data folder from a backup."
    )
