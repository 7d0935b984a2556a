from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import duckdb
import msgspec
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st
from isal import isal_zlib

from tailrace.errors import Corrupt
from tailrace.seal.gzip import FLUSH_MARK, HEADER, GzipJoin


class Known(msgspec.Struct, frozen=True):
    crc: int
    raw_length: int
    lines: int


Part = tuple[Known, Iterable[bytes]]

line_runs = st.lists(
    st.lists(st.text(max_size=40).map(lambda text: msgspec.json.encode(text) + b"\n"), max_size=30),
    max_size=12,
)


def deflate(raw: bytes) -> bytes:
    deflater = isal_zlib.compressobj(level=1, wbits=-15)
    return deflater.compress(raw) + deflater.flush(isal_zlib.Z_FULL_FLUSH)


def known(raw: bytes) -> Known:
    return Known(zlib.crc32(raw), len(raw), raw.count(b"\n"))


def part(raw: bytes, block_bytes: int = 1000) -> Part:
    data = deflate(raw)
    blocks = (data[i : i + block_bytes] for i in range(0, len(data), block_bytes))
    return known(raw), blocks


def joined(raws: Sequence[bytes], block_bytes: int = 1000) -> tuple[bytes, GzipJoin]:
    join = GzipJoin()
    return b"".join(join.blocks(part(raw, block_bytes) for raw in raws)), join


def records(start: int, count: int) -> bytes:
    return b"".join(
        msgspec.json.encode({"event_id": i, "event_type": f"type {i % 7}"}) + b"\n"
        for i in range(start, start + count)
    )


@given(line_runs, st.integers(1, 64))
def test_any_chunks_join_into_one_member(runs: list[list[bytes]], block_bytes: int) -> None:
    raws = [b"".join(run) for run in runs]
    data, join = joined(raws, block_bytes)

    reader = zlib.decompressobj(wbits=31)
    assert reader.decompress(data) == b"".join(raws)
    assert reader.eof
    assert reader.unused_data == b""
    assert join.raw_bytes == sum(map(len, raws))
    assert join.lines == sum(raw.count(b"\n") for raw in raws)
    assert join.size_bytes == len(data)
    assert join.crc32 == zlib.crc32(data)
    assert join.sha256 == hashlib.sha256(data).hexdigest()


def test_the_same_chunks_give_the_same_bytes_without_a_time() -> None:
    raws = [records(0, 50), records(50, 50)]
    assert joined(raws)[0] == joined(raws, 7)[0]
    assert joined(raws)[0][:10] == HEADER
    assert HEADER[4:8] == b"\0\0\0\0"


def test_chunks_are_copied_and_not_compressed_again() -> None:
    raws = [records(0, 50), records(50, 50)]
    assert deflate(raws[0]) + deflate(raws[1]) in joined(raws)[0]


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, bytes]:
    raws = [records(0, 4000), records(4000, 1), records(4001, 5999)]
    path = tmp_path / "300001_2026-11-23_13#1.json.gz"
    path.write_bytes(joined(raws)[0])
    return path, b"".join(raws)


def test_gzip_reads_every_line(written: tuple[Path, bytes], gzip_program: str) -> None:
    path, raw = written
    assert subprocess.run([gzip_program, "-t", path], check=True, capture_output=True).stderr == b""
    out = subprocess.run([gzip_program, "-dc", path], check=True, capture_output=True).stdout
    assert out == raw


def test_python_reads_every_line_in_one_shot(written: tuple[Path, bytes]) -> None:
    path, raw = written
    assert zlib.decompress(path.read_bytes(), 31) == raw
    with gzip.open(path) as file:
        assert file.read() == raw


def test_a_reader_that_stops_after_the_first_member_sees_every_line(
    written: tuple[Path, bytes],
) -> None:
    path, raw = written
    reader = zlib.decompressobj(wbits=31)
    out = b""
    stream = io.BytesIO(path.read_bytes())
    while not reader.eof and (block := stream.read(512)):
        out += reader.decompress(block)
    assert out == raw
    assert stream.read() == b""
    assert reader.unused_data == b""


def test_duckdb_and_pandas_read_every_line(written: tuple[Path, bytes]) -> None:
    path, _ = written
    with duckdb.connect() as connection:
        found = connection.execute(
            "SELECT count(*), sum(event_id), count(DISTINCT event_type) "
            "FROM read_json(?, format = 'newline_delimited')",
            [str(path)],
        ).fetchone()
    assert found == (10_000, sum(range(10_000)), 7)

    frame = pandas.read_json(path, lines=True)
    assert list(frame["event_id"]) == list(range(10_000))


def test_a_chunk_larger_than_a_block_of_inflated_bytes_is_checked_whole() -> None:
    raw = b"a" * 5_000_000 + b"\n"
    data, join = joined([raw, raw])
    assert zlib.decompress(data, 31) == raw + raw
    assert (join.raw_bytes, join.lines) == (10_000_002, 2)


def broken(known_as: Known, data: bytes) -> str:
    join = GzipJoin()
    with pytest.raises(Corrupt) as raised:
        list(join.blocks([(known_as, [data])]))
    return str(raised.value)


def test_a_chunk_that_is_not_what_its_row_says_is_refused() -> None:
    raw = records(0, 20)
    data = deflate(raw)
    truth = known(raw)
    assert "its row says" in broken(Known(truth.crc ^ 1, truth.raw_length, truth.lines), data)
    assert "its row says" in broken(Known(truth.crc, truth.raw_length + 1, truth.lines), data)
    assert "its row says" in broken(Known(truth.crc, truth.raw_length, truth.lines + 1), data)
    assert "its row says" in broken(known(records(0, 19)), data)


def test_a_chunk_without_a_full_flush_at_its_end_is_refused() -> None:
    raw = records(0, 20)
    deflater = isal_zlib.compressobj(level=1, wbits=-15)
    finished = deflater.compress(raw) + deflater.flush()
    assert "full flush" in broken(known(raw), finished)
    assert "full flush" in broken(known(raw), deflate(raw)[:-1])


def test_a_chunk_that_leans_on_the_one_before_is_refused() -> None:
    raw = records(0, 200)
    deflater = zlib.compressobj(1, zlib.DEFLATED, -15)
    first = deflater.compress(raw) + deflater.flush(zlib.Z_SYNC_FLUSH)
    second = deflater.compress(raw) + deflater.flush(zlib.Z_SYNC_FLUSH)
    assert second.endswith(FLUSH_MARK)
    assert len(second) < len(first)
    assert broken(known(raw), second)


def test_a_chunk_that_ends_within_a_line_is_refused() -> None:
    raw = records(0, 2) + b'{"half":'
    assert "middle of a line" in broken(known(raw), deflate(raw))


@given(st.data())
def test_no_flipped_bit_passes(data: st.DataObject) -> None:
    raw = records(0, 20)
    good = bytearray(deflate(raw))
    at = data.draw(st.integers(0, len(good) * 8 - 1))
    good[at // 8] ^= 1 << at % 8

    def blocks() -> Iterator[bytes]:
        yield bytes(good)

    join = GzipJoin()
    try:
        written = b"".join(join.blocks([(known(raw), blocks())]))
    except Corrupt:
        return
    # A bit that the stream does not use may differ; the lines may not.
    assert zlib.decompress(written, 31) == raw
