"""From a log entry to events, with the keys under which state knows them.

A `Portion` is what succeeds or fails as one: a record, a part of a long one, or one event of those
that failed.
Only the names of its events are read for a whole batch at once; the rest is decoded when the
portion is rendered, and let go at once, while it lies in the processor's caches. Keeping thousands
of decoded events instead took a third more time, though the names are read twice now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b

import msgspec
import numpy as np
from numpy.typing import NDArray

from tailrace.log.record import Entry, Record
from tailrace.process.enrich import (
    derived_device_id,
    drop_empty_strings,
    may_hold_empty_strings,
)
from tailrace.state.processing_rows import HeldRow
from tailrace.upload import EMPTY_OBJECT, Upload, UploadEvent

# What the log may not say of an event that was held: longer texts are cut.
ERROR_CHARACTERS_MAX = 500

# `held` rows of a whole record have this index.
WHOLE_RECORD = -1

# D11: what the documented event ids are, and what a uuid's text takes.
EVENT_ID_MAX = 999_999_999
UUID_LENGTH = 36

# A record with more events is taken in parts: each line of theirs may show all that is remembered
# of a person and of ten groups, 112 KiB, and the lines of a portion lie in memory at once. A
# multiple of four, as four events share a hash.
PORTION_EVENTS_MAX = 100

KeyOf = Callable[[int, str, str], bytes]


class Names(msgspec.Struct, gc=False):
    """What of an event state goes by."""

    device_id: str | None = None
    user_id: str | None = None
    insert_id: str | None = None
    groups: msgspec.Raw = EMPTY_OBJECT


class NamedUpload(msgspec.Struct, gc=False):
    """A request body of which only the events' names are wanted."""

    events: list[Names]


class Portion(msgspec.Struct):
    """Events of one record, from index `first` on, and what is made of each in their order.

    `body` holds these events and no others, unless `single` is there.

    `devices` and `users` are the ids that identity goes by (None without such an id), `keys` those
    of dedupe, `groups` the objects of groups of those that have any. `uuids` and `event_ids` are
    there once `name_rows` was called. `single` is the one event of a portion that failed.
    """

    entry: Entry
    record: Record
    hour: int
    first: int
    body: bytes
    single: UploadEvent | None
    devices: list[str | None]
    users: list[str | None]
    keys: list[bytes | None]
    groups: list[msgspec.Raw] = []
    uuids: list[str] = []
    event_ids: list[int] = []

    @property
    def count(self) -> int:
        """How many events there are."""
        return len(self.keys)

    def events(self) -> list[UploadEvent]:
        """Decode the events; raise whatever is wrong with the body."""
        return _decoded(self.body) if self.single is None else [self.single]


class RawUpload(msgspec.Struct):
    """A request body of which only the events' bytes are wanted."""

    events: list[msgspec.Raw]


_decode_names = msgspec.json.Decoder(NamedUpload).decode
_decode_upload = msgspec.json.Decoder(Upload).decode
_decode_raw = msgspec.json.Decoder(RawUpload).decode
_decode_event = msgspec.json.Decoder(UploadEvent).decode


def portions_of(entry: Entry, record: Record, hour: int, key_of: KeyOf) -> list[Portion]:
    """Return a record in its parts; raise whatever is wrong with the names in its body."""
    names = _decode_names(record.body).events
    _check_count(len(names), record)
    if may_hold_empty_strings(record.body):
        # An exported field is null, never "" (D40).
        names = [
            Names(one.device_id or None, one.user_id or None, one.insert_id or None, one.groups)
            for one in names
        ]
    if len(names) <= PORTION_EVENTS_MAX:
        return [_prepare(entry, record, hour, 0, record.body, names, key_of)]
    raws = _decode_raw(record.body).events
    portions = []
    for first in range(0, len(names), PORTION_EVENTS_MAX):
        last = first + PORTION_EVENTS_MAX
        body = b'{"events":[%b]}' % b",".join(raws[first:last])
        portions.append(_prepare(entry, record, hour, first, body, names[first:last], key_of))
    return portions


def _decoded(body: bytes) -> list[UploadEvent]:
    events = _decode_upload(body).events
    if may_hold_empty_strings(body):
        for event in events:
            drop_empty_strings(event)
    return events


def single_portions(
    entry: Entry, record: Record, hour: int, key_of: KeyOf
) -> Iterator[Portion | HeldRow]:
    """Yield every event of a record that failed as a whole, alone; those without hope as held."""
    try:
        raws = _decode_raw(record.body).events
        _check_count(len(raws), record)
    except MemoryError:
        raise
    except Exception as error:
        yield held_row(entry, record, hour, WHOLE_RECORD, error)
        return
    yield from _singles(entry, record, hour, key_of, 0, raws)


def singles_of(portion: Portion, key_of: KeyOf) -> Iterator[Portion | HeldRow]:
    """Yield every event of a portion that failed, alone; those without hope as held."""
    raws = _decode_raw(portion.body).events
    yield from _singles(portion.entry, portion.record, portion.hour, key_of, portion.first, raws)


def _singles(
    entry: Entry,
    record: Record,
    hour: int,
    key_of: KeyOf,
    first: int,
    raws: Sequence[msgspec.Raw],
) -> Iterator[Portion | HeldRow]:
    for index, raw in enumerate(raws, first):
        try:
            event = _decode_event(raw)
            drop_empty_strings(event)
            yield _prepare(entry, record, hour, index, record.body, [event], key_of, event)
        except MemoryError:
            raise
        except Exception as error:
            yield held_row(entry, record, hour, index, error)


def held_row(entry: Entry, record: Record, hour: int, index: int, error: Exception) -> HeldRow:
    """Return the row that keeps an event, or for `WHOLE_RECORD` a body, until it is retried."""
    whole = index == WHOLE_RECORD
    return HeldRow(
        partition=entry.partition,
        position=entry.position,
        index=index,
        project=record.project,
        hour=hour,
        stamp=entry.stamp,
        error=f"{type(error).__name__}: {error}"[:ERROR_CHARACTERS_MAX],
        event=record.body if whole else bytes(_decode_raw(record.body).events[index]),
        events=record.events if whole else 1,
        organization=record.organization,
        endpoint=record.endpoint,
        received_micros=record.received_micros,
        client_upload_micros=record.client_upload_micros,
        client_address=record.client_address,
    )


def name_rows(portions: Sequence[Portion], key: bytes) -> None:
    """Give each event its row's uuid, and the event id that it gets if it has none (D11).

    A uuid is the version-4 form of a keyed hash of (partition, position, index); an event id, 1 to
    999,999,999, comes from its last six bytes. The texts of a whole batch are made at once.
    """
    hashes = b"".join([_row_hashes(key, portion) for portion in portions])
    rows = np.frombuffer(hashes, dtype=np.uint8).reshape(-1, 16)
    last = np.zeros((len(rows), 8), dtype=np.uint8)
    last[:, 2:] = rows[:, 10:]
    event_ids = (last.view(">u8").reshape(-1) % EVENT_ID_MAX + 1).tolist()
    uuids = _uuid_texts(rows)
    at = 0
    for portion in portions:
        until = at + portion.count
        portion.uuids, portion.event_ids = uuids[at:until], event_ids[at:until]
        at = until


def _row_hashes(key: bytes, portion: Portion) -> bytes:
    """Return 16 bytes an event; one hash of 64 serves four neighbouring indexes of a record."""
    first, count = portion.first, portion.count
    name = f"{portion.entry.partition} {portion.entry.position} "
    blocks = range(first // 4, (first + count + 3) // 4)
    hashes = b"".join([blake2b(f"{name}{block}".encode(), key=key).digest() for block in blocks])
    start = first % 4 * 16
    return hashes[start : start + 16 * count]


def _uuid_texts(rows: NDArray[np.uint8]) -> list[str]:
    rows = rows.copy()
    rows[:, 6] = rows[:, 6] & 0x0F | 0x40
    rows[:, 8] = rows[:, 8] & 0x3F | 0x80
    digits = _HEX_DIGITS[rows].view(np.uint8).reshape(-1, 32)
    texts = np.full((len(rows), UUID_LENGTH), ord("-"), dtype=np.uint8)
    digit = 0
    for start, end in ((0, 8), (9, 13), (14, 18), (19, 23), (24, 36)):
        texts[:, start:end] = digits[:, digit : digit + end - start]
        digit += end - start
    text = texts.tobytes().decode("ascii")
    return [text[at : at + UUID_LENGTH] for at in range(0, len(text), UUID_LENGTH)]


def _prepare(
    entry: Entry,
    record: Record,
    hour: int,
    first: int,
    body: bytes,
    named: Sequence[Names | UploadEvent],
    key_of: KeyOf,
    single: UploadEvent | None = None,
) -> Portion:
    project = record.project
    devices = [one.device_id for one in named]
    users = [one.user_id for one in named]
    if None in devices:
        for index, (device, user) in enumerate(zip(devices, users, strict=True)):
            if device is None and user is not None:
                devices[index] = derived_device_id(user)
    keys = [
        None if one.insert_id is None else key_of(project, device or "", one.insert_id)
        for one, device in zip(named, devices, strict=True)
    ]
    groups = [one.groups for one in named if one.groups is not EMPTY_OBJECT]
    return Portion(entry, record, hour, first, body, single, devices, users, keys, groups)


def _check_count(found: int, record: Record) -> None:
    if found != record.events:
        raise ValueError(f"the record's header says {record.events} events, its body has {found}")


# For each byte, its two hexadecimal digits as they lie in a text.
_HEX_DIGITS = np.frombuffer(
    b"".join(f"{byte:02x}".encode() for byte in range(256)), dtype=np.uint16
)
