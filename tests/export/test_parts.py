from __future__ import annotations

import io
import itertools
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.errors import NeedsOperator
from tailrace.export.parts import (
    MIB,
    MULTIPART_BYTES,
    OBJECT_BYTES_MAX,
    PARTS_MAX,
    FilePart,
    crc32_of,
    crc32_text,
    part_bytes_for,
    part_ranges,
)

PART_BYTES_LEAST = 5 * MIB  # S3's rule for every part but the last
PART_BYTES_MOST = 5 * 1024 * MIB


@given(st.integers(1, OBJECT_BYTES_MAX))
def test_ten_thousand_parts_hold_any_object(size: int) -> None:
    step = part_bytes_for(size)
    count = -(-size // step)
    assert count <= PARTS_MAX
    assert PART_BYTES_LEAST <= step <= PART_BYTES_MOST
    assert step % MIB == 0


@given(st.integers(1, 200 * 1024 * MIB))
def test_parts_cover_the_object_once_in_order(size: int) -> None:
    ranges = part_ranges(size)
    assert ranges[0].start == 0
    assert ranges[-1].stop == size
    assert all(a.stop == b.start for a, b in itertools.pairwise(ranges))
    assert all(len(one) >= MULTIPART_BYTES for one in ranges[:-1])
    assert len(ranges[-1]) > 0


@pytest.mark.parametrize("size", [MULTIPART_BYTES * PARTS_MAX, MULTIPART_BYTES * PARTS_MAX + 1])
def test_parts_grow_just_where_ten_thousand_no_longer_suffice(size: int) -> None:
    grown = size > MULTIPART_BYTES * PARTS_MAX
    assert part_bytes_for(size) == MULTIPART_BYTES + (MIB if grown else 0)


def test_an_object_above_five_tebibytes_is_refused() -> None:
    with pytest.raises(NeedsOperator, match=r"seal\.partition_bytes"):
        part_bytes_for(OBJECT_BYTES_MAX + 1)


@given(st.binary(max_size=300), st.data())
def test_a_part_reads_as_a_file_of_its_own(data: bytes, draw: st.DataObject) -> None:
    start = draw.draw(st.integers(0, len(data)))
    stop = draw.draw(st.integers(start, len(data)))
    expected = data[start:stop]
    part = FilePart(io.BytesIO(data), range(start, stop), lambda: None)
    assert len(part) == len(expected)
    assert crc32_of(part) == zlib.crc32(expected)
    read = b""
    while piece := part.read(draw.draw(st.integers(1, 50))):
        read += piece
    assert read == expected
    at = draw.draw(st.integers(0, len(expected)))
    part.seek(at)
    assert part.tell() == at
    assert part.read() == expected[at:]


def test_a_stop_ends_a_part_between_two_reads() -> None:
    stops: list[bool] = []

    def check() -> None:
        if stops:
            raise RuntimeError("stopped")

    part = FilePart(io.BytesIO(b"abcdef"), range(6), check)
    assert part.read(3) == b"abc"
    stops.append(True)
    with pytest.raises(RuntimeError):
        part.read(3)


class BrokenDisk(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("file", [BrokenDisk(b"abcdef"), io.BytesIO(b"abc")])
def test_a_file_that_can_not_be_read_on_is_no_trouble_of_the_network(file: io.BytesIO) -> None:
    part = FilePart(file, range(6), lambda: None)
    with pytest.raises(NeedsOperator, match="archive's file"):
        crc32_of(part)


def test_a_crc_is_written_as_s3_writes_it() -> None:
    assert crc32_text(zlib.crc32(b"123456789")) == "y/Q5Jg=="
