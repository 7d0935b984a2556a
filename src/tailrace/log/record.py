"""`Record`: one accepted request, the unit that `collect` hands to the log."""

from __future__ import annotations

import msgspec


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
