from __future__ import annotations

import os
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.errors import BadRequest
from tailrace.log.frame import (
    FINAL,
    GROUP,
    GROUP_BYTES,
    PAYLOAD_BYTES_MAX,
    RECORD,
    TICK,
    BadFrame,
    check_length,
    encode_frame,
    encode_group,
    find_group_ends,
    group_end,
    read_frames,
    split,
)

Wanted = tuple[int, int, bytes]

kinds = st.sampled_from([RECORD, TICK, FINAL])
stamps = st.integers(0, 2**63)
frames_wanted = st.lists(st.tuples(kinds, stamps, st.binary(max_size=200)), max_size=8)
positions = st.integers(0, 2**50)


def laid_out(wanted: list[Wanted], position: int) -> bytes:
    data = b""
    for kind, stamp, payload in wanted:
        halves = (payload[: len(payload) // 2], payload[len(payload) // 2 :])
        data += b"".join(encode_frame(kind, stamp, position + len(data), halves))
    return data


def whole_lengths(wanted: list[Wanted], position: int) -> list[int]:
    return [len(laid_out(wanted[:count], position)) for count in range(len(wanted) + 1)]


@given(frames_wanted, positions)
def test_frames_come_back_in_order(wanted: list[Wanted], position: int) -> None:
    data = laid_out(wanted, position)
    part = split(data, position)
    assert [(f.kind, f.stamp, bytes(f.payload)) for f in part.frames] == wanted
    assert part.stop == position + len(data)


@given(frames_wanted, positions, st.data())
def test_a_cut_block_gives_its_whole_frames_and_says_how_much_is_missing(
    wanted: list[Wanted], position: int, data: st.DataObject
) -> None:
    whole = laid_out(wanted, position)
    cut = data.draw(st.integers(0, len(whole)))
    part = split(whole[:cut], position)
    lengths = whole_lengths(wanted, position)
    count = max(i for i, length in enumerate(lengths) if length <= cut)
    assert len(part.frames) == count
    assert part.stop == position + lengths[count]
    assert part.needed > cut - lengths[count]


@given(frames_wanted.filter(bool), positions, st.data())
def test_any_flipped_bit_ends_the_frames_before_it(
    wanted: list[Wanted], position: int, data: st.DataObject
) -> None:
    whole = bytearray(laid_out(wanted, position))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= 1 << data.draw(st.integers(0, 7))
    lengths = whole_lengths(wanted, position)
    count = max(i for i, length in enumerate(lengths) if length <= at)
    assert len(split(bytes(whole), position).frames) == count


@given(frames_wanted.filter(bool), positions, st.integers(1, 2**40))
def test_whole_bytes_in_another_place_are_bad(
    wanted: list[Wanted], position: int, shift: int
) -> None:
    part = split(laid_out(wanted, position), position + shift)
    assert not part.frames
    assert not part.needed


@given(st.integers(0, 2**60), stamps, positions)
def test_a_group_frame_holds_the_durable_end(end: int, stamp: int, position: int) -> None:
    (frame,) = split(encode_group(end, stamp, position), position).frames
    assert frame.kind == GROUP
    assert group_end(frame) == end


@given(frames_wanted, st.integers(1, 300), st.integers(0, 2**40))
def test_reading_by_blocks_gives_the_same_frames(
    wanted: list[Wanted], block_bytes: int, base: int
) -> None:
    data = laid_out(wanted, base)
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        blocks = read_frames(file.fileno(), base, base, base + len(data), block_bytes)
        read = [(f.kind, f.stamp, bytes(f.payload)) for frames in blocks for f in frames]
    assert read == wanted


@given(frames_wanted.filter(bool), st.integers(1, 300), st.data())
def test_reading_a_cut_file_fails_at_the_first_frame_that_is_not_whole(
    wanted: list[Wanted], block_bytes: int, data: st.DataObject
) -> None:
    whole = laid_out(wanted, 0)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with tempfile.TemporaryFile() as file:
        file.write(whole[:cut])
        file.flush()
        with pytest.raises(BadFrame) as caught:
            list(read_frames(file.fileno(), 0, 0, len(whole), block_bytes))
    lengths = whole_lengths(wanted, 0)
    assert caught.value.position == max(length for length in lengths if length <= cut)


@given(
    st.binary(max_size=100),
    st.lists(st.integers(0, 2**40), max_size=4),
    st.integers(GROUP_BYTES, 90),
)
def test_group_ends_are_found_among_damaged_bytes(
    rubbish: bytes, ends: list[int], block_bytes: int
) -> None:
    data = rubbish
    for end in ends:
        data += encode_group(end, 1, 7_000 + len(data)) + rubbish
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        until = 7_000 + os.fstat(file.fileno()).st_size
        found = list(find_group_ends(file.fileno(), 7_000, 7_000, until, block_bytes))
    assert set(found) == set(ends)


def test_a_body_of_20_mb_with_its_header_fits() -> None:
    check_length(20 * 1024 * 1024 + 10_000)


def test_a_payload_over_the_limit_is_refused_and_never_read() -> None:
    with pytest.raises(BadRequest, match=str(PAYLOAD_BYTES_MAX)):
        check_length(PAYLOAD_BYTES_MAX + 1)
    frame = bytearray(b"".join(encode_frame(RECORD, 1, 0, (b"abc",))))
    frame[4:8] = (PAYLOAD_BYTES_MAX + 1).to_bytes(4, "little")
    assert split(bytes(frame), 0).needed == 0


def test_zeros_are_no_frame() -> None:
    part = split(bytes(4096), 0)
    assert not part.frames
    assert not part.needed
