"""`Record`: one accepted request, the unit that `collect` hands to the log, and its encoding.

A stored record is a version byte and a MessagePack array. Its last element is the body as it came;
only a retried one has a ninth behind it. Called by the writer and the reader.
"""

from __future__ import annotations

import struct

import msgspec

from tailrace.errors import Corrupt, NewerFormat

RECORD_VERSION = 1

# MessagePack: an array of eight elements, and a byte string with its length in four bytes.
_ARRAY_OF_EIGHT = 0x98
_BYTES_FOLLOW = 0xC6
_START = bytes([RECORD_VERSION, _ARRAY_OF_EIGHT])
_BODY = struct.Struct(">BI")


class Record(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A request's header and its accepted JSON bytes.

    `events` is the number of events in `body`, written by the collector; the sum of these numbers
    is what an hour has *accepted*, before anything is decoded (promise 2). `body` is a JSON object
    that decodes as `tailrace.upload.Upload`. All times are microseconds since the epoch.

    `retry_of` names the held event (partition, position, index) that this record puts through the
    log again; it counts only while that one is still held.
    """

    organization: int
    project: int
    endpoint: str
    received_micros: int
    client_upload_micros: int | None
    client_address: str
    events: int
    body: bytes
    retry_of: tuple[int, int, int] | None = None


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


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode


def encode_record(record: Record) -> tuple[bytes, bytes]:
    """Return the stored form in two parts, so that the body is not copied."""
    if record.retry_of is not None:
        return bytes([RECORD_VERSION]) + _encode(record), b""
    fields = _encode(
        (
            record.organization,
            record.project,
            record.endpoint,
            record.received_micros,
            record.client_upload_micros,
            record.client_address,
            record.events,
        )
    )
    # The fields are stored as the first seven of the array's eight; the body is the last.
    return _START + fields[1:] + _BODY.pack(_BYTES_FOLLOW, len(record.body)), record.body


def decode_record(payload: memoryview) -> Record:
    """Return the record that `encode_record` stored; the body is copied out of `payload`.

    Raise `NewerFormat` for a version this release does not know and `Corrupt` for other bytes.
    """
    if len(payload) and payload[0] > RECORD_VERSION:
        raise NewerFormat(
            f"The log holds a request in format {payload[0]}; this release knows formats up to "
            f"{RECORD_VERSION}. Start the newer release again."
        )
    try:
        return _decode(payload[1:])
    except msgspec.MsgspecError as error:
        raise Corrupt(f"A stored request is unreadable: {error}.") from error
