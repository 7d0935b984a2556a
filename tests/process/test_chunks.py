from __future__ import annotations

import gzip
import struct
import zlib
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from isal import isal_zlib

from tailrace.errors import Corrupt
from tailrace.process.chunks import SMALL_RAW_BYTES, Deflater, drained, inflate, mergeable
from tailrace.state.processing_rows import ChunkRow

HALF = SMALL_RAW_BYTES // 2

texts = st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=8)


def row(number: int, raw_length: int, crc: int = 0) -> ChunkRow:
    return ChunkRow(300001, 1, number, "p.pack", 0, 1, crc, raw_length, 1, id=number)


@given(st.lists(texts, min_size=1, max_size=8))
def test_chunks_of_one_compressor_stand_alone_and_join_to_one_gzip_member(
    chunks: list[list[bytes]],
) -> None:
    deflater = Deflater()
    joined, crc, size = b"", 0, 0

    for pieces in chunks:
        parts, chunk_crc, raw_length = deflater.deflate(iter(pieces))
        alone = zlib.decompressobj(-15)
        assert alone.decompress(b"".join(parts) + b"\x03\x00") == b"".join(pieces)
        assert alone.eof
        joined += b"".join(parts)
        crc = isal_zlib.crc32_combine(crc, chunk_crc, raw_length)
        size += raw_length

    header = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    member = header + joined + b"\x03\x00" + struct.pack("<II", crc, size)
    assert gzip.decompress(member) == b"".join(b"".join(pieces) for pieces in chunks)
    assert zlib.decompress(member, 31) == gzip.decompress(member)


def test_a_chunk_far_larger_than_the_window_stands_alone() -> None:
    deflater = Deflater()
    text = b"".join(b"%d," % (n * n) for n in range(500_000))
    deflater.deflate(iter([text]))

    parts, crc, length = deflater.deflate(drained(deque([text, text])))

    assert zlib.decompress(b"".join(parts) + b"\x03\x00", -15) == text + text
    assert (crc, length) == (zlib.crc32(text + text), 2 * len(text))


@given(st.lists(st.binary(max_size=1000), max_size=50))
def test_draining_keeps_every_byte_in_order_and_empties_the_lines(parts: list[bytes]) -> None:
    lines = deque(parts)

    assert b"".join(drained(lines)) == b"".join(parts)
    assert not lines


def test_the_newest_small_chunks_are_joined_in_order_of_lines() -> None:
    newest = [row(4, HALF), row(3, HALF), row(2, SMALL_RAW_BYTES), row(1, HALF)]

    assert [one.id for one in mergeable(newest, set())] == [3, 4]


@pytest.mark.parametrize(
    ("newest", "reserved"),
    [
        ([row(2, HALF), row(1, HALF - 1)], set()),
        ([row(2, SMALL_RAW_BYTES), row(1, HALF)], set()),
        ([row(3, HALF), row(2, HALF), row(1, HALF)], {2}),
        ([], set()),
    ],
    ids=["too little", "newest is large", "one in use", "none"],
)
def test_chunks_that_are_few_large_or_in_use_stay(
    newest: list[ChunkRow], reserved: set[int]
) -> None:
    assert mergeable(newest, reserved) == []


def test_a_changed_chunk_is_never_rewritten() -> None:
    parts, crc, length = Deflater().deflate(iter([b"line one\n" * 50]))
    chunk = b"".join(parts)

    assert inflate([row(1, length, crc)], [chunk]) == b"line one\n" * 50
    with pytest.raises(Corrupt, match=r"project 300001 from pack p\.pack"):
        inflate([row(1, length, crc ^ 1)], [chunk])
    with pytest.raises(Corrupt, match="Restore the data folder"):
        inflate([row(1, length, crc)], [b"\xff" + chunk[1:]])
