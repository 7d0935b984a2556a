"""The lines of a merged-ID file (R38), deflated as chunks like those that events come in.

Called while the file of an organization's hour is made. The same merges give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec
from isal import isal_zlib

from tailrace.state.merges import Line

# Some 1 MiB of lines, so that memory does not follow the hour.
LINES_PER_CHUNK = 8192
# As events are: fast, and a chunk is a raw stream that leans on none before it.
_LEVEL = 1
_RAW_DEFLATE = -15


class MergedId(msgspec.Struct, frozen=True):
    """One line; the order of the fields is the order of the keys. Times in milliseconds (D9).

    `scope` is minus the organization (D10). `amplitude_id` is to be read as `merged_amplitude_id`.
    """

    scope: int
    merge_time: int
    merge_server_time: int
    amplitude_id: int
    merged_amplitude_id: int


class MergeChunk(msgspec.Struct, frozen=True):
    """What is known of a chunk; CRC32 and length are of its raw lines."""

    crc: int
    raw_length: int
    lines: int


def merge_chunks(
    organization: int, merges: Iterable[Line]
) -> Iterator[tuple[MergeChunk, list[bytes]]]:
    """Yield the chunks of an organization's merges, in the order in which these are given."""
    encode = msgspec.json.Encoder().encode
    given = iter(merges)
    while some := list(islice(given, LINES_PER_CHUNK)):
        raw = b"".join(
            encode(MergedId(-organization, time, server_time, loser, survivor)) + b"\n"
            for loser, survivor, time, server_time in some
        )
        deflater = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _RAW_DEFLATE)
        parts = [deflater.compress(raw), deflater.flush(isal_zlib.Z_FULL_FLUSH)]
        yield MergeChunk(isal_zlib.crc32(raw), len(raw), len(some)), parts
