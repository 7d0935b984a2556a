"""`End`: how far a partition is durable, kept in a small file beside the segments.

The writer publishes it after each fdatasync; readers obey it. It is a hint that a power failure
may lose or tear, so recovery works without it.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import msgspec
from isal import isal_zlib

from tailrace.errors import NewerFormat

END_FILE = "end"
END_VERSION = 1
_MAGIC = b"TREND\x00"
_LAYOUT = struct.Struct("<6sHQQ")
_VERSION = struct.Struct("<6sH")
_CRC = struct.Struct("<I")
_SIZE = _LAYOUT.size + _CRC.size

# A reader may meet the writer in the middle of its 28 bytes; the next look sees them whole.
_LOOKS_MAX = 5


class End(msgspec.Struct, frozen=True, gc=False):
    """The position after the last durable entry, and that entry's stamp (0 before the first)."""

    position: int
    stamp: int


NOTHING = End(0, 0)


class EndFile:
    """The writer's side. It keeps the file open, since each group publishes an end."""

    def __init__(self, folder: Path) -> None:
        self._descriptor = os.open(
            folder / END_FILE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640
        )
        self._cut = False

    def publish(self, end: End) -> None:
        """Let readers see `end` at once; call it only when everything before it is on disk.

        Raise `OSError` if the system takes no or not all of it: readers then see no end at all.
        """
        data = _LAYOUT.pack(_MAGIC, END_VERSION, end.position, end.stamp)
        data += _CRC.pack(isal_zlib.crc32(data))
        written = os.pwrite(self._descriptor, data, 0)
        if written != len(data):
            raise OSError(f"only {written} of the end's {len(data)} bytes were taken")
        if not self._cut:
            # No reader believes a longer file, and nothing else would ever make it shorter.
            os.ftruncate(self._descriptor, _SIZE)
            self._cut = True

    def close(self) -> None:
        """Close the file; what was published stays."""
        os.close(self._descriptor)


class EndWatch:
    """A reader's side that looks often: it keeps the file open once there is one."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / END_FILE
        self._descriptor: int | None = None

    def read(self) -> End | None:
        """Return the published end, or None if there is none or a crash tore it.

        Raise `NewerFormat` if a newer release wrote it.
        """
        if self._descriptor is None:
            try:
                self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
        for _ in range(_LOOKS_MAX):
            end = _decode(os.pread(self._descriptor, _SIZE + 1, 0), self._path)
            if end is not None:
                return end
        return None

    def close(self) -> None:
        """Close the file if it is open."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def read_end(folder: Path) -> End | None:
    """Look once, as `EndWatch.read` does."""
    watch = EndWatch(folder)
    try:
        return watch.read()
    finally:
        watch.close()


def _decode(data: bytes, path: Path) -> End | None:
    if data.startswith(_MAGIC) and len(data) >= _VERSION.size:
        _, version = _VERSION.unpack_from(data)
        if version > END_VERSION:
            raise NewerFormat(
                f"{path} has format {version}; this release knows formats up to {END_VERSION}. "
                "Start the newer release again."
            )
    if len(data) != _SIZE:
        return None
    magic, _, position, stamp = _LAYOUT.unpack_from(data)
    (crc,) = _CRC.unpack_from(data, _LAYOUT.size)
    if magic != _MAGIC or isal_zlib.crc32(data[: _LAYOUT.size]) != crc:
        return None
    return End(position, stamp)
