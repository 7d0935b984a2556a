"""From a log entry to events: decoded once, with the keys under which state knows them.

A `Portion` is what succeeds or fails as one: a whole record, or one event of a record that failed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import msgspec

from tailrace.log.record import Entry, Record
from tailrace.process.enrich import derived_device_id, drop_empty_strings
from tailrace.process.identity import Key
from tailrace.state.processing_rows import HeldRow
from tailrace.upload import Upload, UploadEvent

# What the log may not say of an event that was held: longer texts are cut.
ERROR_CHARACTERS_MAX = 500

# `held` rows of a whole record have this index.
WHOLE_RECORD = -1

KeyOf = Callable[[int, str, str], bytes]


class Portion(msgspec.Struct):
    """Events of one record, from index `first` on.

    `devices` and `users` are keys of identity (None without such an id), `keys` those of dedupe.
    """

    entry: Entry
    record: Record
    hour: int
    first: int
    events: list[UploadEvent]
    devices: list[Key | None]
    users: list[Key | None]
    keys: list[bytes | None]


class RawUpload(msgspec.Struct):
    """A request body of which only the events' bytes are wanted."""

    events: list[msgspec.Raw]


_decode_upload = msgspec.json.Decoder(Upload).decode
_decode_raw = msgspec.json.Decoder(RawUpload).decode
_decode_event = msgspec.json.Decoder(UploadEvent).decode


def portion_of(entry: Entry, record: Record, hour: int, key_of: KeyOf) -> Portion:
    """Return a whole record; raise whatever is wrong with its body."""
    events = _decode_upload(record.body).events
    _check_count(len(events), record)
    if b'""' in record.body:
        for event in events:
            drop_empty_strings(event)
    return _prepare(entry, record, hour, 0, events, key_of)


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
    for index, raw in enumerate(raws):
        try:
            event = _decode_event(raw)
            drop_empty_strings(event)
            yield _prepare(entry, record, hour, index, [event], key_of)
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


def uuid_texts(key: bytes, entry: Entry, first: int, count: int) -> list[str]:
    """Return the version-4 forms of a keyed hash of (partition, position, index).

    One hash of 64 bytes serves four neighbouring indexes, whatever portion they come in.
    """
    name = f"{entry.partition} {entry.position} "
    blocks = range(first // 4, (first + count + 3) // 4)
    digits = "".join(
        hashlib.blake2b(f"{name}{block}".encode(), key=key).hexdigest() for block in blocks
    )
    start = first % 4 * 32
    return [
        f"{digits[at : at + 8]}-{digits[at + 8 : at + 12]}-4{digits[at + 13 : at + 16]}-"
        f"{_VARIANT[digits[at + 16]]}{digits[at + 17 : at + 20]}-{digits[at + 20 : at + 32]}"
        for at in range(start, start + 32 * count, 32)
    ]


def event_id_of(uuid: str) -> int:
    """Return the server's event id, 1 to 999,999,999, from the row's uuid (D11)."""
    return int(uuid[24:], 16) % 999_999_999 + 1


def _prepare(
    entry: Entry, record: Record, hour: int, first: int, events: list[UploadEvent], key_of: KeyOf
) -> Portion:
    organization, project = record.organization, record.project
    devices: list[Key | None] = []
    users: list[Key | None] = []
    keys: list[bytes | None] = []
    for event in events:
        device_id, user_id, insert_id = event.device_id, event.user_id, event.insert_id
        if user_id is None:
            users.append(None)
        else:
            users.append((organization, user_id))
            if device_id is None:
                event.device_id = device_id = derived_device_id(user_id)
        devices.append(None if device_id is None else (organization, device_id))
        keys.append(None if insert_id is None else key_of(project, device_id or "", insert_id))
    return Portion(entry, record, hour, first, events, devices, users, keys)


def _check_count(found: int, record: Record) -> None:
    if found != record.events:
        raise ValueError(f"the record's header says {record.events} events, its body has {found}")


_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
