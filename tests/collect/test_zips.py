"""Zips of stored members: read by other programs, and large ones by arithmetic."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import zipfile
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.collect import zips
from tailrace.collect.zips import Member, zip_length, zip_pieces
from tailrace.errors import Corrupt

CHANGED = datetime(2026, 11, 23, 13, tzinfo=UTC)
LARGE = 2**32 - 1


def member(name: str, content: bytes) -> Member:
    return Member(name, len(content), zlib.crc32(content), CHANGED)


def zipped(contents: dict[str, bytes], piece_bytes: int = 64) -> list[bytes]:
    members = [member(name, content) for name, content in contents.items()]
    pieces = zip_pieces(
        members, lambda one: io.BytesIO(contents[one.name]), piece_bytes=piece_bytes
    )
    whole = list(pieces)
    assert sum(map(len, whole)) == zip_length(members)
    return whole


@given(
    st.dictionaries(
        st.text("abc#_0/", min_size=1, max_size=8), st.binary(max_size=300), max_size=6
    ),
    st.integers(1, 400),
)
def test_a_zip_is_read_back_byte_for_byte(contents: dict[str, bytes], piece_bytes: int) -> None:
    pieces = zipped(contents, piece_bytes)

    assert {len(piece) for piece in pieces[:-1]} <= {piece_bytes}
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.testzip() is None
        assert {info.filename: archive.read(info) for info in archive.infolist()} == contents
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
        assert all(info.date_time == (2026, 11, 23, 13, 0, 0) for info in archive.infolist())


@pytest.mark.parametrize(
    ("program", "options"), [("unzip", ["-t"]), ("7z", ["t"]), ("bsdtar", ["-tf"])]
)
def test_other_programs_find_nothing_wrong(
    tmp_path: Path, program: str, options: list[str]
) -> None:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"there is no {program} on this machine")
    path = tmp_path / "export.zip"
    contents = {f"1/1_2026-11-23_{hour}#1.json.gz": bytes([hour]) * 1000 for hour in range(24)}
    path.write_bytes(b"".join(zipped(contents)))

    subprocess.run([found, *options, str(path)], check=True, stdout=subprocess.DEVNULL)


def test_dates_that_the_format_does_not_have_are_moved_to_those_that_it_has() -> None:
    members = [Member(str(year), 0, 0, datetime(year, 1, 1, tzinfo=UTC)) for year in (1971, 2500)]
    data = b"".join(zip_pieces(members, lambda _: io.BytesIO()))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert [info.date_time[0] for info in archive.infolist()] == [1980, 2107]


def test_a_file_that_is_not_what_was_sealed_ends_the_zip_early() -> None:
    content = b"abc" * 100
    sealed = member("1", content)
    found = [content[:-1], content + b"x", content[:-1] + b"x", b""]
    for other in found:
        with pytest.raises(Corrupt, match="Cannot export 1"):
            list(zip_pieces([sealed], lambda _, other=other: io.BytesIO(other)))  # type: ignore[misc]


def test_one_file_is_open_at_a_time_and_none_is_left_open() -> None:
    opened: list[BinaryIO] = []

    def open_member(_: Member) -> BinaryIO:
        assert all(file.closed for file in opened)
        opened.append(io.BytesIO(b"x" * 100))
        return opened[-1]

    pieces = zip_pieces(
        [member(str(n), b"x" * 100) for n in range(3)], open_member, piece_bytes=200
    )
    next(pieces)
    pieces.close()
    assert opened
    assert all(file.closed for file in opened)


class Sparse(io.RawIOBase):
    """A large zip of which only what is no content is kept; it reads as zeros."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.parts: dict[int, bytes] = {}
        self.place = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.place

    def seek(self, offset: int, whence: int = 0) -> int:
        self.place = offset + (0, self.place, self.size)[whence]
        return self.place

    def read(self, size: int = -1) -> bytes:
        end = self.size if size < 0 else min(self.size, self.place + size)
        data = bytearray(end - self.place)
        for start, part in self.parts.items():
            low, high = max(start, self.place), min(start + len(part), end)
            if low < high:
                data[low - self.place : high - self.place] = part[low - start : high - start]
        self.place = end
        return bytes(data)


def sparse(members: list[Member]) -> Sparse:
    """Return the zip without contents, as if they were there."""
    made = Sparse(zip_length(members))
    offset = 0
    for one in members:
        head = zips._local_header(one)
        made.parts[offset] = head
        offset += len(head) + one.size_bytes
    made.parts[offset] = b"".join(zips._directory(members))
    assert offset + len(made.parts[offset]) == made.size
    return made


@pytest.mark.parametrize("size", [LARGE - 1, LARGE, LARGE + 1, 5 * 2**30])
def test_members_around_the_first_limit_of_the_format_are_found(size: int) -> None:
    members = [Member(f"1/{n}", size, n, CHANGED) for n in range(3)]
    with zipfile.ZipFile(sparse(members)) as archive:
        found = archive.infolist()
        assert [info.file_size for info in found] == [size] * 3
        assert [info.compress_size for info in found] == [size] * 3
        for info in found:
            # The head of the member is looked at, and has to name the same file.
            archive.open(info).close()
        offsets = [info.header_offset for info in found]
        assert offsets == sorted(offsets)
        assert offsets[1] > size


def test_the_local_head_of_a_large_member_says_its_size() -> None:
    head = sparse([Member("1", LARGE, 0, CHANGED)]).parts[0]
    assert struct.unpack_from("<2I", head, 18) == (LARGE, LARGE)
    assert struct.unpack("<2H2Q", head[31:]) == (1, 16, LARGE, LARGE)


@pytest.mark.parametrize("count", [65_534, 65_535, 65_536])
def test_as_many_members_as_the_first_format_can_count_and_more(count: int) -> None:
    members = [Member(str(n), 0, 0, CHANGED) for n in range(count)]
    data = b"".join(zip_pieces(members, lambda _: io.BytesIO()))
    assert len(data) == zip_length(members)
    assert (b"PK\x06\x06" in data[-200:]) == (count >= 65_535)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert len(archive.infolist()) == count
