"""How an object is cut into parts, and a part of a file as a stream of bounded memory."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import BinaryIO

from isal import isal_zlib

from tailrace.errors import NeedsOperator

MIB = 1024**2
# From this size on an object goes up in parts; below it one request is cheaper.
MULTIPART_BYTES = 16 * MIB
PARTS_MAX = 10_000  # S3's limit
OBJECT_BYTES_MAX = 5 * 1024**4  # S3's limit: 5 TiB
_READ_BYTES = 256 * 1024


def part_bytes_for(size_bytes: int) -> int:
    """Return the size of every part but the last, so that 10,000 parts hold the object.

    Raise `NeedsOperator` above 5 TiB, which no object may have.
    """
    if size_bytes > OBJECT_BYTES_MAX:
        raise NeedsOperator(
            f"Cannot export a file of {size_bytes} bytes: S3 takes at most {OBJECT_BYTES_MAX}. "
            "Lower seal.partition_bytes; the hours after the change have smaller files."
        )
    smallest = -(-size_bytes // PARTS_MAX)
    return max(MULTIPART_BYTES, -(-smallest // MIB) * MIB)


def part_ranges(size_bytes: int) -> list[range]:
    """Return the byte ranges of an object's parts, in order."""
    step = part_bytes_for(size_bytes)
    return [range(start, min(start + step, size_bytes)) for start in range(0, size_bytes, step)]


class FilePart(io.RawIOBase):
    """A range of an open file as a file of its own.

    `check` runs before each read and may raise, so that a stop need not wait for a slow bucket.
    """

    def __init__(self, file: BinaryIO, span: range, check: Callable[[], None]) -> None:
        super().__init__()
        self._file = file
        self._span = span
        self._check = check
        self._at = 0

    def __len__(self) -> int:
        return len(self._span)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self)}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        self._check()
        left = max(0, len(self) - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        try:
            self._file.seek(self._span.start + self._at)
            data = self._file.read(wanted)
        except OSError as error:
            # Not an OSError any more: those are the network's to whoever sends this.
            raise NeedsOperator(
                f"Cannot read on in the archive's file: {error}. Check the archive's disk, or "
                "restore the file from a backup."
            ) from error
        if not data and wanted:
            raise NeedsOperator(
                f"Cannot read on in the archive's file: it ends {left} bytes early. Restore it "
                "from a backup."
            )
        self._at += len(data)
        return data


def crc32_of(part: FilePart) -> int:
    """Return the CRC32 of a part's bytes and leave it at its beginning."""
    crc = 0
    part.seek(0)
    while data := part.read(_READ_BYTES):
        crc = isal_zlib.crc32(data, crc)
    part.seek(0)
    return crc


def crc32_text(crc: int) -> str:
    """Return a CRC32 as S3 writes it: four bytes, base64."""
    return base64.b64encode(crc.to_bytes(4, "big")).decode()
