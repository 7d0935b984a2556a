"""`SortedRun`: a set of dedupe keys that never changes, searched many keys at a time.

A run lies in a row of the processing database while it is small, and in a memory-mapped file when
it is large. `insertions.py` says which runs there are.

Keys are hashes, so they are spread evenly: their first bits say where to look. A run is cut by
these bits into slices, and each slice holds, in this order, all in 64-bit little-endian words:

1. a filter: the word that a key's next bits name has four bits set for it, so that 99 of 100 keys
   that are not there are told apart by one word;
2. fences: for each value of the next bits, at which row its keys begin;
3. rows of three words, in the order of keys: the key in two words, and its stamp.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from tailrace.errors import Corrupt, NewerFormat

KEY_BYTES = 16
RUN_VERSION = 1

_MAGIC = b"TRKEYS"
_HEADER = struct.Struct("<6sHQQQBBB5xII")
_HEADER_WORDS = _HEADER.size // 8
_ROW_WORDS = 3

# What is sorted and held at once while a run is made: 3 MiB of rows.
SLICE_KEYS = 1 << 17
# With 12 to 24 filter bits a key, at most 1 % of the keys that are not there pass.
_FILTER_BITS_PER_KEY = 12
# Rows between two fences: they lie within two pages.
_FENCE_KEYS = 64
_BIT_SHIFTS = (0, 6, 12, 18)

Words = NDArray[np.uint64]
Places = NDArray[np.int64]


class Layout(msgspec.Struct, frozen=True):
    """How many of a key's first bits name its slice, and then its filter word and its fence."""

    slice_bits: int
    filter_bits: int
    fence_bits: int

    @classmethod
    def of(cls, keys: int) -> Layout:
        """Return the layout of a run of so many keys."""
        slice_bits = max(0, (keys - 1) // SLICE_KEYS).bit_length()
        each = max(1, keys >> slice_bits)
        filter_words = -(-each * _FILTER_BITS_PER_KEY // 64)
        return cls(
            slice_bits,
            max(1, (filter_words - 1).bit_length()),
            max(1, (each // _FENCE_KEYS).bit_length()),
        )


class Wanted(msgspec.Struct, frozen=True):
    """Keys to look for, in the order of their first words, so that neighbours share pages."""

    high: Words
    low: Words
    mask: Words
    order: Places

    @classmethod
    def of(cls, keys: Sequence[bytes]) -> Wanted:
        """Prepare keys of 16 bytes each."""
        words = _words(b"".join(keys)).reshape(-1, 2)
        order = np.argsort(words[:, 0])
        low = words[order, 1]
        return cls(words[order, 0], low, _mask(low), order)


class Source(Protocol):
    """Rows in order, slice by slice; what a run is made of."""

    layout: Layout

    def rows(self, part: int) -> Words:
        """Return the rows of one slice in the order of keys: high word, low word, stamp."""
        ...


class SortedRun:
    """One run, open for searching. Any number of threads may read it."""

    def __init__(self, words: Words, name: str) -> None:
        """Open a whole run; raise `Corrupt` or `NewerFormat` unless `words` begin as one does."""
        layout, keys, first, last, counts = _read_header(words, name)
        self.keys = keys
        self.size_bytes = words.nbytes
        self.first_stamp = first
        self.last_stamp = last
        self.layout = layout
        self._words = words
        self._counts = counts
        self._filter_shift = np.uint64(64 - layout.slice_bits - layout.filter_bits)
        fixed = (1 << layout.filter_bits) + (1 << layout.fence_bits) + 1
        sizes = fixed + counts * _ROW_WORDS
        ends = np.cumsum(sizes)
        start = _HEADER_WORDS + len(counts)
        if start + int(ends[-1]) != len(words):
            raise _damaged(name, "it has another length than its header says")
        self._filters = start + ends - sizes
        self._fences = self._filters + (1 << layout.filter_bits)
        self._rows = self._fences + (1 << layout.fence_bits) + 1

    @classmethod
    def open(cls, path: Path) -> SortedRun:
        """Map a run's file; nothing but its header is read."""
        try:
            return cls(np.memmap(path, dtype="<u8", mode="r"), str(path))
        except (FileNotFoundError, ValueError) as error:
            # An empty file can't be mapped.
            raise _damaged(str(path), str(error)) from error

    @classmethod
    def of_bytes(cls, body: bytes) -> SortedRun:
        """Open a run that lies in memory."""
        if len(body) % 8:
            raise _damaged("a row of the processing database", "it is cut short")
        return cls(_words(body), "a row of the processing database")

    def search(self, wanted: Wanted, newest: Places) -> None:
        """Raise each wanted key's place in `newest` to the stamp that this run has for it."""
        bits = self.layout.filter_bits
        word = (wanted.high >> self._filter_shift).view(np.int64)
        if self.layout.slice_bits:
            at = self._filters[word >> bits] + (word & ((1 << bits) - 1))
        else:
            at = word + self._filters[0]
        (passed,) = ((self._words[at] & wanted.mask) == wanted.mask).nonzero()
        for index in passed.tolist():
            stamp = self._find(int(wanted.high[index]), int(wanted.low[index]))
            if stamp > newest[index]:
                newest[index] = stamp

    def rows(self, part: int) -> Words:
        """Return the rows of one slice: high word, low word, stamp."""
        start = int(self._rows[part])
        count = int(self._counts[part])
        return self._words[start : start + count * _ROW_WORDS].reshape(-1, _ROW_WORDS)

    def _find(self, high: int, low: int) -> int:
        """Return a key's stamp; 0 if it is not there."""
        bits = self.layout.fence_bits
        bucket = high >> (64 - self.layout.slice_bits - bits)
        part = bucket >> bits
        fence = int(self._fences[part]) + (bucket & ((1 << bits) - 1))
        start, end = self._words[fence : fence + 2].tolist()
        first = int(self._rows[part])
        rows = self._words[first + start * _ROW_WORDS : first + end * _ROW_WORDS]
        highs = rows[::_ROW_WORDS]
        stamp = 0
        # Hardly ever more than one row, unless the key is in it twice.
        for row in range(int(highs.searchsorted(np.uint64(high))), end - start):
            if int(highs[row]) != high:
                break
            if int(rows[row * _ROW_WORDS + 1]) == low:
                stamp = max(stamp, int(rows[row * _ROW_WORDS + 2]))
        return stamp


def run_of_keys(keys: Sequence[bytes], stamps: Sequence[int]) -> bytes:
    """Return a run of new keys, none of them twice."""
    rows = np.empty((len(keys), _ROW_WORDS), dtype="<u8")
    rows[:, :2] = _words(b"".join(keys)).reshape(-1, 2)
    rows[:, 2] = stamps
    return b"".join(run_of([_Unsorted(rows)], len(keys), min(stamps), max(stamps)))


def merged(runs: Sequence[SortedRun]) -> Iterator[bytes]:
    """Yield one run of all keys of several; a key that is in two of them is in it twice."""
    return run_of(
        runs,
        sum(run.keys for run in runs),
        min(run.first_stamp for run in runs),
        max(run.last_stamp for run in runs),
    )


class _Unsorted:
    """Rows as they came, with the same face as a run of one slice."""

    def __init__(self, rows: Words) -> None:
        self.layout = Layout(0, 1, 1)
        self._rows = rows[np.argsort(rows[:, 0])]

    def rows(self, part: int) -> Words:
        return self._rows


def run_of(
    sources: Sequence[Source], keys: int, first_stamp: int, last_stamp: int
) -> Iterator[bytes]:
    """Yield one run of the rows of all sources, `keys` in all. Memory stays at a slice.

    The sources are read twice, the first time for the sizes of slices.
    """
    layout = Layout.of(keys)
    bounds = [_bounds(source, layout) for source in sources]
    counts = np.zeros(1 << layout.slice_bits, dtype="<u8")
    for bound in bounds:
        counts += np.diff(bound).reshape(-1).astype(np.uint64)
    yield _header(layout, keys, first_stamp, last_stamp, counts)
    for part in range(1 << layout.slice_bits):
        rows = np.concatenate(
            [
                _cut(source, bound, part, layout)
                for source, bound in zip(sources, bounds, strict=True)
            ]
        )
        yield _slice(rows[np.argsort(rows[:, 0])], layout)


def _bounds(source: Source, layout: Layout) -> Places:
    """Return, for each slice of the source, the rows at which the new layout's slices begin.

    A run of more keys has as many slices or more, so each lies within one of the source's.
    """
    finer = layout.slice_bits - source.layout.slice_bits
    parts = 1 << source.layout.slice_bits
    bounds = np.zeros((parts, (1 << finer) + 1), dtype=np.int64)
    for part in range(parts):
        high = np.ascontiguousarray(source.rows(part)[:, 0])
        if finer:
            inner = np.arange(1, 1 << finer, dtype=np.uint64)
            first = (np.uint64(part << finer) + inner) << np.uint64(64 - layout.slice_bits)
            bounds[part, 1:-1] = np.searchsorted(high, first)
        bounds[part, -1] = len(high)
    return bounds


def _cut(source: Source, bounds: Places, part: int, layout: Layout) -> Words:
    finer = layout.slice_bits - source.layout.slice_bits
    inner = part & ((1 << finer) - 1)
    begin, end = bounds[part >> finer, inner : inner + 2]
    return source.rows(part >> finer)[begin:end]


def _slice(rows: Words, layout: Layout) -> bytes:
    """Return a slice's filter, fences and sorted rows."""
    inside = rows[:, 0] << np.uint64(layout.slice_bits) if layout.slice_bits else rows[:, 0]
    words = inside >> np.uint64(64 - layout.filter_bits)
    filter_ = np.zeros(1 << layout.filter_bits, dtype="<u8")
    if len(rows):
        first = np.flatnonzero(np.r_[True, words[1:] != words[:-1]])
        bits = np.bitwise_or.reduceat(_mask(rows[:, 1]), first)
        filter_[words[first].astype(np.int64)] = bits
    buckets = inside >> np.uint64(64 - layout.fence_bits)
    steps = np.arange((1 << layout.fence_bits) + 1, dtype=np.uint64)
    fences = np.searchsorted(buckets, steps).astype("<u8")
    return filter_.tobytes() + fences.tobytes() + np.ascontiguousarray(rows, "<u8").tobytes()


def _mask(low: Words) -> Words:
    """Return the four filter bits of each key; they come from its second word."""
    one, six_bits = np.uint64(1), np.uint64(63)
    mask = one << (low & six_bits)
    for shift in _BIT_SHIFTS[1:]:
        mask |= one << ((low >> np.uint64(shift)) & six_bits)
    return mask


def _header(layout: Layout, keys: int, first_stamp: int, last_stamp: int, counts: Words) -> bytes:
    directory = counts.tobytes()
    fields = (
        _MAGIC,
        RUN_VERSION,
        keys,
        first_stamp,
        last_stamp,
        layout.slice_bits,
        layout.filter_bits,
        layout.fence_bits,
        isal_zlib.crc32(directory),
    )
    crc = isal_zlib.crc32(_HEADER.pack(*fields, 0))
    return _HEADER.pack(*fields, crc) + directory


def _read_header(words: Words, name: str) -> tuple[Layout, int, int, int, Places]:
    head = words[:_HEADER_WORDS].tobytes()
    if len(head) < _HEADER.size or not head.startswith(_MAGIC):
        raise _damaged(name, "it does not begin as a run of keys does")
    _, version, keys, first, last, *bits, directory_crc, crc = _HEADER.unpack(head)
    if version > RUN_VERSION:
        raise NewerFormat(
            f"Cannot read {name}: its format is {version}, this release knows {RUN_VERSION}. "
            "Start the newer release that wrote it."
        )
    layout = Layout(*bits)
    if isal_zlib.crc32(head[:-4] + bytes(4)) != crc:
        raise _damaged(name, "its header is not what was written")
    directory = words[_HEADER_WORDS : _HEADER_WORDS + (1 << layout.slice_bits)]
    if isal_zlib.crc32(directory.tobytes()) != directory_crc:
        raise _damaged(name, "its list of slices is not what was written")
    return layout, keys, first, last, directory.astype(np.int64)


def _damaged(name: str, why: str) -> Corrupt:
    return Corrupt(
        f"Cannot read the dedupe keys in {name}: {why}. Restore the data folder from a backup."
    )


def _words(body: bytes) -> Words:
    return np.frombuffer(body, dtype="<u8")
