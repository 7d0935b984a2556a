"""What sealing hands over: `SealedFile` and `SealedHour`, read by the ledger and by `export`.

A scope is a project ID, or minus an organization ID for merged-ID hours.
"""

from __future__ import annotations

import msgspec

from tailrace.hours import Hour


class SealedFile(msgspec.Struct, frozen=True):
    """One file of an hour; once it has a row it is never made again, only read.

    `number` is the partition, from 1; 0 for a merged-ID file, whose name has no number (R37).
    `size_bytes`, `sha256` (lower-case hex) and `crc32` describe the gzip file as it lies in the
    archive; `lines` and `raw_bytes` what it holds.
    """

    scope: int
    hour: Hour
    number: int
    name: str
    size_bytes: int
    sha256: str
    crc32: int
    lines: int
    raw_bytes: int


class SealedHour(msgspec.Struct, frozen=True):
    """A closed hour of one scope.

    `record` is the seal record: canonical JSON bytes that hold the accounting, the files and the
    digest of the hour before. `digest` is its SHA-256 in lower-case hex.
    """

    scope: int
    organization: int
    hour: Hour
    record: bytes
    digest: str
    files: tuple[SealedFile, ...]
