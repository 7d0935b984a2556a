"""`Record`: one accepted request, the unit that `collect` hands to the log, and its encoding.

A stored record is a version byte, the header's length, the header in MessagePack, and the body as
it came. Called by the writer and the reader.
"""

from __future__ import annotations

import struct

import msgspec

from tailrace.errors import BadRequest, Corrupt, NewerFormat

RECORD_VERSION = 1
_PREFIX = struct.Struct("<BH")

# The header's length is kept in two bytes; a real one has fewer than 200.
HEADER_BYTES_MAX = 0xFFFF


class Record(msgspec.Struct, frozen=True, gc=False):
    """A request's header and its accepted JSON bytes.

    `events` is the number of events in `body`, written by the collector; the sum of these numbers
    is what an hour has *accepted*, before anything is decoded (promise 2). `body` is a JSON object
    that decodes as `tailrace.upload.Upload`. All times are microseconds since the epoch.
    """

    organization: int
    project: int
    endpoint: str
    received_micros: int
    client_upload_micros: int | None
    client_address: str
    events: int
    body: bytes


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One durable entry of one partition.

    `next_position` is where reading goes on after this entry. `record` is None for a tick and for
    a partition's final entry. `stamp` is the append time in microseconds; it grows strictly.
    """

    partition: int
    position: int
    next_position: int
    stamp: int
    record: Record | None
    final: bool = False


class Position(msgspec.Struct, frozen=True, gc=False):
    """How far a reader is: the next position, and the stamp of the entry before it."""

    partition: int
    position: int
    stamp: int


class _Header(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A record without its body, in the order in which it is stored."""

    organization: int
    project: int
    endpoint: str
    received_micros: int
    client_upload_micros: int | None
    client_address: str
    events: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Header).decode


def encode_record(record: Record) -> tuple[bytes, bytes]:
    """Return the stored form in two parts, so that the body is not copied.

    Raise `BadRequest` for a header over `HEADER_BYTES_MAX`.
    """
    header = _encode(
        _Header(
            record.organization,
            record.project,
            record.endpoint,
            record.received_micros,
            record.client_upload_micros,
            record.client_address,
            record.events,
        )
    )
    if len(header) > HEADER_BYTES_MAX:
        raise BadRequest(
            f"Cannot store a request of project {record.project}: what is noted about it takes "
            f"{len(header)} bytes, more than {HEADER_BYTES_MAX}."
        )
    return _PREFIX.pack(RECORD_VERSION, len(header)) + header, record.body


def decode_record(payload: memoryview) -> Record:
    """Return the record that `encode_record` stored; the body is copied out of `payload`.

    Raise `NewerFormat` for a version this release does not know and `Corrupt` for other bytes.
    """
    if len(payload) < _PREFIX.size:
        raise Corrupt(f"A stored request has only {len(payload)} bytes.")
    version, length = _PREFIX.unpack_from(payload)
    if version > RECORD_VERSION:
        raise NewerFormat(
            f"The log holds a request in format {version}; this release knows formats up to "
            f"{RECORD_VERSION}. Start the newer release again."
        )
    body_at = _PREFIX.size + length
    try:
        header = _decode(payload[_PREFIX.size : body_at])
    except msgspec.MsgspecError as error:
        raise Corrupt(f"A stored request has an unreadable header: {error}.") from error
    return Record(
        header.organization,
        header.project,
        header.endpoint,
        header.received_micros,
        header.client_upload_micros,
        header.client_address,
        header.events,
        bytes(payload[body_at:]),
    )
