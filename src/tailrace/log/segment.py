"""Segments: the files of one partition, and how they follow one another.

A position is a segment's base plus the offset in its file, so positions grow over all segments.
Each header names the segment before it and that one's end, so a missing file shows.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path

import msgspec
from isal import isal_zlib

from tailrace.errors import Corrupt, NewerFormat, Transient
from tailrace.files import AppendFile, Files
from tailrace.log.end import End

SEGMENT_VERSION = 1
_MAGIC = b"TRSEGM\x00\x00"
_LAYOUT = struct.Struct("<8sHIQQQQ")
_VERSION = struct.Struct("<8sH")
_CRC = struct.Struct("<I")
SEGMENT_HEADER_BYTES = _LAYOUT.size + _CRC.size

# Segments that nobody needs any more may be removed while they are listed; listing begins anew.
_LOOKS_MAX = 5


class SegmentNotBegun(OSError):
    """The disk refused a new segment's header; there is no such file."""


class Segment(msgspec.Struct, frozen=True):
    """One segment file. `previous_end` is where the log ended when it was begun."""

    path: Path
    partition: int
    base: int
    previous_base: int
    previous_end: End

    @property
    def first_position(self) -> int:
        """The position of the first frame."""
        return self.base + SEGMENT_HEADER_BYTES


class Listing(msgspec.Struct, frozen=True):
    """What a partition's folder holds.

    `segments` follow one another without a gap, oldest first. `abandoned` hold no entry: their
    beginning was cut short, or a later segment has taken their place.
    """

    segments: list[Segment]
    abandoned: list[Path]

    def index_of(self, position: int) -> int:
        """Return the index of the segment in which reading goes on at `position`.

        The end of one segment and the beginning of the next are the same place. Raise `Corrupt`
        if the entries at `position` are gone.
        """
        first = self.segments[0]
        if position < first.previous_end.position:
            raise Corrupt(
                f"Cannot read the log at position {position}: {first.path} is the oldest segment "
                f"left and begins after position {first.previous_end.position}. "
                "Restore the missing segments from a backup."
            )
        index = 0
        while (
            index + 1 < len(self.segments)
            and position >= self.segments[index + 1].previous_end.position
        ):
            index += 1
        return index


def create_segment(
    folder: Path, files: Files, *, partition: int, base: int, previous_base: int, previous_end: End
) -> tuple[Segment, AppendFile]:
    """Begin a segment; on return the file, its header and its name are on disk.

    Raise `SegmentNotBegun` if the disk took no header, and any other `OSError` if it is not sure
    what the disk has.
    """
    path = folder / f"{base:020d}.log"
    header = _LAYOUT.pack(
        _MAGIC,
        SEGMENT_VERSION,
        partition,
        base,
        previous_base,
        previous_end.position,
        previous_end.stamp,
    )
    header += _CRC.pack(isal_zlib.crc32(header))
    file = _write_header(path, header, files)
    try:
        file.sync_data()
        files.sync_folder(folder)
    except BaseException:
        file.close()
        raise
    return Segment(path, partition, base, previous_base, previous_end), file


def _write_header(path: Path, header: bytes, files: Files) -> AppendFile:
    try:
        file = files.open_append(path)
    except OSError as error:
        raise SegmentNotBegun(f"Cannot begin the log segment {path}: {error}.") from error
    try:
        if file.size():
            raise Corrupt(f"Cannot begin the log segment {path}: it is there already.")
        written = file.write(header)
        if written != len(header):
            raise OSError(f"only {written} of {len(header)} bytes were taken")
    except OSError as error:
        file.close()
        files.remove(path)
        raise SegmentNotBegun(f"Cannot begin the log segment {path}: {error}.") from error
    except BaseException:
        file.close()
        raise
    return file


def list_segments(folder: Path, partition: int) -> Listing:
    """Return the folder's segments. Raise `Corrupt` for a gap, `NewerFormat` for a newer file."""
    sound, unsound = _read_headers(folder, partition)
    if not sound:
        return Listing([], list(unsound.values()))
    chain = _chain(sound)
    oldest = chain[0]
    if oldest.previous_end.position:
        missing = oldest.previous_base
        older = [base for base in (*sound, *unsound) if base < missing]
        if older or missing in unsound:
            raise Corrupt(
                f"Cannot read the log in {folder}: the segment {missing:020d}.log, which "
                f"{oldest.path.name} follows, is missing or damaged. Restore it from a backup."
            )
    kept = {segment.base for segment in chain}
    abandoned = [segment.path for base, segment in sound.items() if base not in kept]
    return Listing(chain, abandoned + list(unsound.values()))


def _read_headers(folder: Path, partition: int) -> tuple[dict[int, Segment], dict[int, Path]]:
    """Return the segments by base, and the files whose header a crash cut short."""
    for _ in range(_LOOKS_MAX):
        sound: dict[int, Segment] = {}
        unsound: dict[int, Path] = {}
        try:
            for path in sorted(folder.glob("*.log")):
                segment = _read_header(path, partition)
                if segment is None:
                    unsound[int(path.stem)] = path
                else:
                    sound[segment.base] = segment
        except FileNotFoundError:
            continue
        return sound, unsound
    raise Transient(f"The log segments in {folder} are being removed just now. Try again.")


def _chain(sound: dict[int, Segment]) -> list[Segment]:
    chain = [sound[max(sound)]]
    while chain[-1].previous_end.position and chain[-1].previous_base in sound:
        chain.append(sound[chain[-1].previous_base])
    chain.reverse()
    return chain


def _read_header(path: Path, partition: int) -> Segment | None:
    """Return the segment, or None if its beginning was cut short by a crash."""
    with path.open("rb") as file:
        data = file.read(SEGMENT_HEADER_BYTES)
        size = os.fstat(file.fileno()).st_size
    base = int(path.stem)
    if data.startswith(_MAGIC) and len(data) >= _VERSION.size:
        _, version = _VERSION.unpack_from(data)
        if version > SEGMENT_VERSION:
            raise NewerFormat(
                f"The log segment {path} has format {version}; this release knows formats up "
                f"to {SEGMENT_VERSION}. Start the newer release again."
            )
    if len(data) == SEGMENT_HEADER_BYTES:
        magic, _, *fields = _LAYOUT.unpack_from(data)
        (crc,) = _CRC.unpack_from(data, _LAYOUT.size)
        if magic == _MAGIC and isal_zlib.crc32(data[: _LAYOUT.size]) == crc:
            if fields[0] != partition or fields[1] != base:
                raise Corrupt(
                    f"The log segment {path} belongs to partition {fields[0]}, position "
                    f"{fields[1]}. Put the file back where it was."
                )
            return Segment(path, partition, base, fields[2], End(fields[3], fields[4]))
    if size > SEGMENT_HEADER_BYTES:
        # Frames are written only after the header is on disk, so this one was sound once.
        raise Corrupt(
            f"The log segment {path} has a damaged header. Restore it from a backup; "
            "nothing was changed."
        )
    return None


def segment_end(segments: Sequence[Segment], index: int) -> End | None:
    """Return where a segment's entries end, or None for the newest, which may grow."""
    return segments[index + 1].previous_end if index + 1 < len(segments) else None
