"""Join deflate chunks byte for byte into one single-member gzip file.

Nothing is compressed again; every chunk is inflated once while it passes, so that a damaged pack
is found before its lines are sealed. Members are never concatenated: several readers stop after
the first one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Protocol

from isal import isal_zlib

from tailrace.errors import Corrupt

# ID1 ID2, deflate, no flags, time 0 (the same lines give the same bytes), fastest level, unknown
# system (RFC 1952, section 2.3).
HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"
# The last block of the stream: fixed codes, nothing but the end of block (RFC 1951, 3.2.3).
FINAL_BLOCK = b"\x03\x00"
# Every chunk ends with the empty stored block of a full flush, so the next begins on a byte.
FLUSH_MARK = b"\x00\x00\xff\xff"

_RAW_DEFLATE = -15
# Inflated lines are looked at in pieces of this size, so memory does not follow the chunk's.
_INFLATED_BYTES_MAX = 1024 * 1024


class Chunk(Protocol):
    """What is known of a chunk; CRC32 and length are of its raw lines."""

    @property
    def crc(self) -> int: ...
    @property
    def raw_length(self) -> int: ...
    @property
    def lines(self) -> int: ...


class GzipJoin:
    """One gzip file in the making; read the totals once `blocks` is through."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self.raw_bytes = 0
        self.lines = 0
        self.crc32 = 0
        self._sha256 = hashlib.sha256()
        self._raw_crc = 0

    @property
    def sha256(self) -> str:
        """The file's SHA-256 in lower-case hex; `crc32` is the file's as well, not the lines'."""
        return self._sha256.hexdigest()

    def blocks(self, chunks: Iterable[tuple[Chunk, Iterable[bytes]]]) -> Iterator[bytes]:
        """Yield the file; raise `Corrupt` where a chunk does not hold what is known of it."""
        yield self._counted(HEADER)
        for chunk, data in chunks:
            check = _ChunkCheck()
            for block in data:
                check.feed(block)
                yield self._counted(block)
            check.finish(chunk)
            self._raw_crc = isal_zlib.crc32_combine(self._raw_crc, chunk.crc, chunk.raw_length)
            self.raw_bytes += chunk.raw_length
            self.lines += chunk.lines
        yield self._counted(FINAL_BLOCK + self._trailer())

    def _trailer(self) -> bytes:
        size = self.raw_bytes % 2**32
        return self._raw_crc.to_bytes(4, "little") + size.to_bytes(4, "little")

    def _counted(self, block: bytes) -> bytes:
        self.size_bytes += len(block)
        self.crc32 = isal_zlib.crc32(block, self.crc32)
        self._sha256.update(block)
        return block


class _ChunkCheck:
    """Inflate one chunk alone: a chunk that leans on an earlier one must not pass."""

    def __init__(self) -> None:
        self._inflate = isal_zlib.decompressobj(wbits=_RAW_DEFLATE)
        self._crc = 0
        self._raw_length = 0
        self._lines = 0
        self._last_byte = b"\n"
        self._tail = FLUSH_MARK

    def feed(self, block: bytes) -> None:
        self._tail = (self._tail + block)[-len(FLUSH_MARK) :]
        data = block
        while True:
            try:
                raw = self._inflate.decompress(data, _INFLATED_BYTES_MAX)
            except isal_zlib.IsalError as error:  # type: ignore[misc]  # a class; the stub errs
                raise Corrupt(f"a chunk can't be inflated ({error})") from error
            if raw:
                self._crc = isal_zlib.crc32(raw, self._crc)
                self._raw_length += len(raw)
                self._lines += raw.count(b"\n")
                self._last_byte = raw[-1:]
            data = self._inflate.unconsumed_tail
            if not data and len(raw) < _INFLATED_BYTES_MAX:
                return

    def finish(self, chunk: Chunk) -> None:
        if self._inflate.eof or self._tail != FLUSH_MARK:
            raise Corrupt("a chunk does not end with a full flush")
        if self._last_byte != b"\n":
            raise Corrupt("a chunk ends in the middle of a line")
        found = (self._raw_length, self._lines, self._crc)
        known = (chunk.raw_length, chunk.lines, chunk.crc)
        if found != known:
            raise Corrupt(
                f"a chunk holds {found[0]} bytes in {found[1]} lines with CRC {found[2]:08x}, "
                f"but its row says {known[0]} in {known[1]} with {known[2]:08x}"
            )
