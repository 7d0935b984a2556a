"""The native floor: what the journey would cost if only native code touched the bytes.

One simdjson parse of the request bodies, three copies, one CRC and one ISA-L level 1 pass over the
rendered lines. pysimdjson has wheels for Linux on x86-64 below Python 3.14 only.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Sequence

import msgspec
from isal import isal_zlib

Parse = Callable[[bytes], object]

COPIES = 3  # received to decoded, decoded to rendered, rendered to file
_BLOCK_BYTES = 1 << 20
_GZIP = 31  # zlib's window bits for a gzip member


class Floor(msgspec.Struct, frozen=True):
    """CPU seconds of each part, for all events given."""

    parse: float
    copy: float
    crc: float
    deflate: float

    @property
    def seconds(self) -> float:
        """The whole floor."""
        return self.parse + self.copy + self.crc + self.deflate


def parser() -> Parse | None:
    """Return simdjson's parse with nothing extracted, or None where it can't be installed."""
    try:
        import simdjson
    except ImportError:
        return None
    parse: Parse = simdjson.Parser().parse
    return parse


def measure(parse: Parse, bodies: Sequence[bytes], lines: bytes) -> Floor:
    """Run every part once over request bodies and the lines rendered from them."""
    blocks = [lines[at : at + _BLOCK_BYTES] for at in range(0, len(lines), _BLOCK_BYTES)]
    return Floor(
        parse=_seconds(parse, bodies),
        copy=COPIES * _seconds(bytearray, blocks),
        crc=_seconds(isal_zlib.crc32, blocks),
        deflate=_seconds(_deflate, blocks),
    )


def gzip_six_bytes(lines: bytes) -> int:
    """Return the size of what `gzip -6` makes of the lines."""
    packer = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
    return len(packer.compress(lines)) + len(packer.flush())


def _seconds(work: Callable[[bytes], object], pieces: Sequence[bytes]) -> float:
    began = time.process_time()
    for piece in pieces:
        work(piece)
    return time.process_time() - began


def _deflate(block: bytes) -> bytes:
    packer = isal_zlib.compressobj(1, zlib.DEFLATED, -15)
    return packer.compress(block) + packer.flush(isal_zlib.Z_FULL_FLUSH)
