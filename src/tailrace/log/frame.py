"""Frames: how entries lie in a segment, so that a torn, shifted or altered one is told apart.

A frame is a CRC32, the payload's length, the stamp, the kind, and the payload. The CRC covers all
that follows it and begins from the frame's position, so whole bytes in a wrong place fail too.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

import msgspec
from isal import isal_zlib

from tailrace.errors import BadRequest

GROUP = 1
RECORD = 2
TICK = 3
FINAL = 4
_KINDS = frozenset((GROUP, RECORD, TICK, FINAL))

_HEADER = struct.Struct("<IIQB")
_AFTER_CRC = struct.Struct("<IQB")
HEADER_BYTES = _HEADER.size
_CRC_BYTES = 4

# The largest body is 20 MB; its canonical form may be somewhat longer, and a header is added.
# A length above this is damage, and no reader sets aside memory for it.
PAYLOAD_BYTES_MAX = 32 * 1024 * 1024

# The zero byte can't stand in a JSON body, so no client can write what looks like a group's start.
_GROUP_MARK = b"\x00TRgroup"
_GROUP = struct.Struct("<8sQ")
GROUP_BYTES = HEADER_BYTES + _GROUP.size


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One whole frame. `payload` points into the block that was read."""

    kind: int
    stamp: int
    position: int
    next_position: int
    payload: memoryview


class Split(msgspec.Struct, frozen=True):
    """The whole frames at the beginning of a block.

    `stop` is the position after the last of them. `needed` is how many bytes from `stop` the next
    step needs, or 0 if the frame at `stop` is bad.
    """

    frames: list[Frame]
    stop: int
    needed: int


class BadFrame(Exception):
    """The bytes at `position` are no whole frame."""

    def __init__(self, position: int) -> None:
        super().__init__(f"bad frame at position {position}")
        self.position = position


def encode_frame(
    kind: int, stamp: int, position: int, payload: tuple[bytes, ...] = ()
) -> list[bytes]:
    """Return the parts of a frame that will lie at `position`; payload parts are not copied.

    Raise `BadRequest` for a payload over `PAYLOAD_BYTES_MAX`.
    """
    length = sum(map(len, payload))
    check_length(length)
    after_crc = _AFTER_CRC.pack(length, stamp, kind)
    crc = isal_zlib.crc32(after_crc, _seed(position))
    for part in payload:
        crc = isal_zlib.crc32(part, crc)
    return [crc.to_bytes(_CRC_BYTES, "little") + after_crc, *payload]


def check_length(length: int) -> None:
    """Raise `BadRequest` if a payload of that many bytes has no place in a frame."""
    if length > PAYLOAD_BYTES_MAX:
        raise BadRequest(
            f"Cannot store a request of {length} bytes: the log takes up to {PAYLOAD_BYTES_MAX}. "
            "Send fewer events at once."
        )


def encode_group(durable_end: int, stamp: int, position: int) -> bytes:
    """Return the frame that begins each group: the durable end when the group was written."""
    return b"".join(encode_frame(GROUP, stamp, position, (_GROUP.pack(_GROUP_MARK, durable_end),)))


def group_end(frame: Frame) -> int:
    """Return the durable end that a group's frame holds."""
    if len(frame.payload) != _GROUP.size:
        raise BadFrame(frame.position)
    mark, durable_end = _GROUP.unpack(frame.payload)
    if mark != _GROUP_MARK:
        raise BadFrame(frame.position)
    return int(durable_end)


def split(block: bytes | memoryview, position: int) -> Split:
    """Cut a block that begins at `position` into its whole frames."""
    view = memoryview(block)
    size = len(view)
    frames: list[Frame] = []
    unpack, crc32 = _HEADER.unpack_from, isal_zlib.crc32
    at = 0
    while True:
        if size - at < HEADER_BYTES:
            return Split(frames, position + at, HEADER_BYTES)
        crc, length, stamp, kind = unpack(view, at)
        if length > PAYLOAD_BYTES_MAX or kind not in _KINDS:
            return Split(frames, position + at, 0)
        until = at + HEADER_BYTES + length
        if until > size:
            return Split(frames, position + at, until - at)
        if crc32(view[at + _CRC_BYTES : until], _seed(position + at)) != crc:
            return Split(frames, position + at, 0)
        payload = view[at + HEADER_BYTES : until]
        frames.append(Frame(kind, stamp, position + at, position + until, payload))
        at = until


def read_frames(
    descriptor: int, base: int, position: int, until: int, block_bytes: int
) -> Iterator[list[Frame]]:
    """Yield the frames between two positions of a segment whose file begins at `base`.

    At most `block_bytes` are held at once, or one frame where that is longer. Raise `BadFrame`
    unless whole frames lead exactly to `until`.
    """
    size = block_bytes
    while position < until:
        size = min(size, until - position)
        block = os.pread(descriptor, size, position - base)
        part = split(block, position)
        if part.frames:
            yield part.frames
            position = part.stop
            size = block_bytes
        elif not part.needed or len(block) < size or part.needed > until - position:
            raise BadFrame(position)
        else:
            size = max(part.needed, block_bytes)


def find_group_ends(
    descriptor: int, base: int, position: int, until: int, block_bytes: int
) -> Iterator[int]:
    """Yield the durable ends of all sound group frames between two positions, damaged or not.

    It tells damage inside what was durable from a group that never became so.
    """
    while until - position >= GROUP_BYTES:
        block = os.pread(descriptor, min(block_bytes, until - position), position - base)
        if len(block) < GROUP_BYTES:
            return
        mark = block.find(_GROUP_MARK)
        while mark >= 0:
            at = mark - HEADER_BYTES
            if at >= 0:
                for frame in split(block[at : at + GROUP_BYTES], position + at).frames:
                    if frame.kind == GROUP:
                        yield group_end(frame)
            mark = block.find(_GROUP_MARK, mark + 1)
        position += len(block) - (GROUP_BYTES - 1)


def _seed(position: int) -> int:
    return (position ^ (position >> 32)) & 0xFFFFFFFF
