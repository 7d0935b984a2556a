"""A zip file of members that are stored as they are: its length, and its bytes piece by piece.

Members' sizes and checksums are known before a byte is read, so the length is, too. What passes
the format's first limits is written in its 64-bit form.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from datetime import datetime
from typing import BinaryIO

import msgspec

from tailrace.errors import Corrupt

# Enough that the cost of a read and a write is small beside that of the bytes.
PIECE_BYTES = 262_144

# From here on a number stands in an extra field, or in a record of its own.
_LARGE = 0xFFFFFFFF
_MANY = 0xFFFF
_VERSION = 20
_VERSION_LARGE = 45
_UNIX = 3 << 8
_MODE = 0o100644 << 16
# What the format's dates can say.
_YEARS = (1980, 2107)

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_LARGE_END = struct.Struct("<4sQ2H2I4Q")
_LARGE_END_AT = struct.Struct("<4sIQI")
_EXTRA = struct.Struct("<2H")
_EXTRA_ID = 1


class Member(msgspec.Struct, frozen=True):
    """One file in the zip. `name` is ASCII, `changed` in UTC."""

    name: str
    size_bytes: int
    crc32: int
    changed: datetime


def zip_length(members: Sequence[Member]) -> int:
    """Return how many bytes the zip of these members has."""
    bodies = sum(len(_local_header(member)) + member.size_bytes for member in members)
    return bodies + sum(map(len, _directory(members)))


def zip_pieces(
    members: Sequence[Member],
    open_member: Callable[[Member], BinaryIO],
    *,
    piece_bytes: int = PIECE_BYTES,
) -> Generator[bytes, None, None]:
    """Yield the zip's bytes in pieces of `piece_bytes`, the last one shorter.

    Only one file is open at a time. Raise `Corrupt` where one is not what its member says, before
    the zip is complete, and `OSError` where it can't be read.
    """
    held = bytearray()
    for part in _parts(members, open_member, piece_bytes):
        held += part
        while len(held) >= piece_bytes:
            yield bytes(held[:piece_bytes])
            del held[:piece_bytes]
    if held:
        yield bytes(held)


def _parts(
    members: Sequence[Member], open_member: Callable[[Member], BinaryIO], part_bytes: int
) -> Iterator[bytes]:
    for member in members:
        yield _local_header(member)
        with open_member(member) as file:
            yield from _content(member, file, part_bytes)
    yield from _directory(members)


def _content(member: Member, file: BinaryIO, part_bytes: int) -> Iterator[bytes]:
    left, crc = member.size_bytes, 0
    while part := file.read(min(left + 1, part_bytes)):
        left -= len(part)
        if left < 0:
            raise _not_as_sealed(member, "it is longer")
        crc = zlib.crc32(part, crc)
        yield part
    if left:
        raise _not_as_sealed(member, f"{left} bytes are missing")
    if crc != member.crc32:
        raise _not_as_sealed(member, "its checksum is another")


def _local_header(member: Member) -> bytes:
    name, size = member.name.encode("ascii"), member.size_bytes
    large = size >= _LARGE
    extra = _extra([size, size]) if large else b""
    shown = _LARGE if large else size
    date, time = _moment(member.changed)
    version = _VERSION_LARGE if large else _VERSION
    return (
        _LOCAL.pack(
            b"PK\x03\x04", version, 0, 0, time, date, member.crc32, shown, shown,
            len(name), len(extra),
        )
        + name
        + extra
    )  # fmt: skip


def _directory(members: Iterable[Member]) -> Iterator[bytes]:
    """Yield the entries of all members, then the zip's end."""
    offset = count = length = 0
    for member in members:
        entry = _entry(member, offset)
        yield entry
        offset += len(_local_header(member)) + member.size_bytes
        length += len(entry)
        count += 1
    yield _end(count, length, offset)


def _entry(member: Member, offset: int) -> bytes:
    name, size = member.name.encode("ascii"), member.size_bytes
    numbers = [size, size] if size >= _LARGE else []
    if offset >= _LARGE:
        numbers.append(offset)
    extra = _extra(numbers)
    shown = min(size, _LARGE)
    date, time = _moment(member.changed)
    version = _VERSION_LARGE if numbers else _VERSION
    return (
        _CENTRAL.pack(
            b"PK\x01\x02", _UNIX | version, version, 0, 0, time, date, member.crc32, shown, shown,
            len(name), len(extra), 0, 0, 0, _MODE, min(offset, _LARGE),
        )
        + name
        + extra
    )  # fmt: skip


def _end(count: int, length: int, offset: int) -> bytes:
    """Return what ends the zip: the directory has `count` entries, and `length` bytes."""
    large = b""
    if count >= _MANY or length >= _LARGE or offset >= _LARGE:
        large = _LARGE_END.pack(
            b"PK\x06\x06", _LARGE_END.size - 12, _UNIX | _VERSION_LARGE, _VERSION_LARGE, 0, 0,
            count, count, length, offset,
        ) + _LARGE_END_AT.pack(b"PK\x06\x07", 0, offset + length, 1)  # fmt: skip
    shown = min(count, _MANY)
    return large + _END.pack(
        b"PK\x05\x06", 0, 0, shown, shown, min(length, _LARGE), min(offset, _LARGE), 0
    )


def _extra(numbers: Sequence[int]) -> bytes:
    if not numbers:
        return b""
    return _EXTRA.pack(_EXTRA_ID, 8 * len(numbers)) + struct.pack(f"<{len(numbers)}Q", *numbers)


def _moment(moment: datetime) -> tuple[int, int]:
    year = min(max(moment.year, _YEARS[0]), _YEARS[1])
    date = (year - _YEARS[0]) << 9 | moment.month << 5 | moment.day
    return date, moment.hour << 11 | moment.minute << 5 | moment.second // 2


def _not_as_sealed(member: Member, reason: str) -> Corrupt:
    return Corrupt(
        f"Cannot export {member.name}: it is not what was sealed, {reason}. "
        "Restore the archive from a backup."
    )
