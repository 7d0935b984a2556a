"""Target `frames`: a block of the log, sound, damaged or made up, cut into frames."""

from __future__ import annotations

import os

from fuzz.choices import Choices, damaged
from fuzz.claims import claim
from tailrace.errors import Corrupt, NewerFormat
from tailrace.log.frame import (
    GROUP,
    RECORD,
    TICK,
    BadFrame,
    Frame,
    encode_frame,
    encode_group,
    find_group_ends,
    read_frames,
    split,
)
from tailrace.log.record import Record, decode_record, encode_record

_BASE = 5_000_000_000
_ENTRIES_MAX = 5
_CHANGES_MAX = 3
_STAMP = 1_700_000_000_000_000


def target(data: bytes) -> None:
    """Cut made-up bytes, or a sound block after some damage."""
    choices = Choices(data)
    if choices.number(2):
        _made_up(choices.rest())
    else:
        _damaged(choices)


def _made_up(block: bytes) -> None:
    part = split(block, _BASE)
    _check_split(block, part.frames, part.stop, part.needed)
    for frame in part.frames:
        again = b"".join(
            encode_frame(frame.kind, frame.stamp, frame.position, (bytes(frame.payload),))
        )
        start = frame.position - _BASE
        claim(block[start : start + len(again)] == again, "a frame is not what it is made of")
    try:
        record = decode_record(memoryview(block))
    except (Corrupt, NewerFormat):
        return
    head, body = encode_record(record)
    claim(decode_record(memoryview(head + body)) == record, "a record is read as another")


def _damaged(choices: Choices) -> None:
    sound = b""
    ends: list[int] = []
    for number in range(choices.number(_ENTRIES_MAX) + 1):
        position = _BASE + len(sound)
        kind = (GROUP, RECORD, TICK)[choices.number(3)]
        if kind == GROUP:
            ends.append(position)
            sound += encode_group(position, _STAMP + number, position)
            continue
        payload: tuple[bytes, ...] = ()
        if kind == RECORD:
            body = choices.piece(choices.number(64))
            payload = encode_record(Record(1, 2, "/batch", 3, None, "::1", 1, body))
        sound += b"".join(encode_frame(kind, _STAMP + number, position, payload))
    frames = [_plain(frame) for frame in split(sound, _BASE).frames]
    claim(sum(len(frame[4]) for frame in frames) <= len(sound), "frames overlap")
    claim(bool(frames) and frames[-1][3] == _BASE + len(sound), "a sound block is not read whole")

    block, first = damaged(sound, choices, _CHANGES_MAX)
    part = split(block, _BASE)
    _check_split(block, part.frames, part.stop, part.needed)
    _check_prefix([_plain(frame) for frame in part.frames], frames, first)
    read = _read(block, choices.number(100) + 1)
    _check_prefix(read, frames, first)
    claim(len(read) >= len(part.frames), "read in blocks, there are fewer frames")
    descriptor = _file(block)
    try:
        found = list(find_group_ends(descriptor, _BASE, _BASE, _BASE + len(block), 128))
    finally:
        os.close(descriptor)
    claim(set(found) <= set(ends), "an end is found that no group has")


_Plain = tuple[int, int, int, int, bytes]


def _plain(frame: Frame) -> _Plain:
    return frame.kind, frame.stamp, frame.position, frame.next_position, bytes(frame.payload)


def _check_split(block: bytes, frames: list[Frame], stop: int, needed: int) -> None:
    position = _BASE
    for frame in frames:
        claim(frame.position == position, "a frame does not follow the one before it")
        position = frame.next_position
    claim(stop == position, "it does not stop after the last frame")
    left = _BASE + len(block) - stop
    claim(needed == 0 or needed > left, "it needs no more than there is, and stops")


def _check_prefix(read: list[_Plain], sound: list[_Plain], first: int) -> None:
    claim(read == sound[: len(read)], "an altered frame is accepted")
    untouched = [frame for frame in sound if frame[3] <= _BASE + first]
    claim(len(read) >= len(untouched), "a sound frame before the damage is left out")


def _read(block: bytes, block_bytes: int) -> list[_Plain]:
    descriptor = _file(block)
    read: list[_Plain] = []
    whole = False
    try:
        for frames in read_frames(descriptor, _BASE, _BASE, _BASE + len(block), block_bytes):
            read += [_plain(frame) for frame in frames]
        whole = True
    except BadFrame as error:
        claim(error.position == (read[-1][3] if read else _BASE), "the bad frame is elsewhere")
    finally:
        os.close(descriptor)
    claim(not whole or (read[-1][3] if read else _BASE) == _BASE + len(block), "it ends early")
    return read


def _file(block: bytes) -> int:
    descriptor = os.memfd_create("block")
    os.write(descriptor, block)
    return descriptor
