"""The seal record of an hour, and the manifest that is delivered with it.

The record is the hour's truth: its bytes are fixed when the hour is sealed, its digest links the
next hour's record to it. The manifest holds it verbatim and adds what depends on a bucket's prefix.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import msgspec

from tailrace.clock import to_datetime
from tailrace.hours import Hour
from tailrace.seal.names import file_key, parse_file_name, url_path
from tailrace.state.closing import DueScope, ProjectHourRow
from tailrace.state.processing import HourSettings
from tailrace.state.sealed import SealedFile

RECORD_FORMAT = 1
MANIFEST_FORMAT = 1


class LineSchema(msgspec.Struct, frozen=True):
    """The layout of the lines: its version, and how many keys each line has (R35, R38)."""

    version: int
    keys: int


EVENTS_SCHEMA = LineSchema(version=1, keys=49)
# The six newer columns stand behind the others, so a reader of 49 reads these as well.
EXTENDED_SCHEMA = LineSchema(version=1, keys=55)
MERGED_IDS_SCHEMA = LineSchema(version=1, keys=5)


class RecordFile(msgspec.Struct, frozen=True):
    """One file as the record names it; sizes in bytes, digests in lower-case hex."""

    name: str
    lines: int
    bytes: int
    raw_bytes: int
    sha256: str
    crc32: str


class PreviousHour(msgspec.Struct, frozen=True):
    """The link to the sealed hour before; between the two lie `quiet_hours` without records."""

    hour: str
    sha256: str
    quiet_hours: int


class SealRecord(msgspec.Struct, frozen=True):
    """What a closed hour of one scope holds; the order of the fields is the order of the keys.

    `accepted` counts what was answered with 200 and is the sum of the five after it. Times are of
    the first and the last accepted event. `event_dates` counts the lines by UTC date of event
    time; those far from the hour are `earlier` or `later`. In an hour of merged IDs
    all of this is of the merges that were recorded: `exported` are those, `accepted` how many were
    counted, and the dates are of merge time.
    """

    format: int
    scope: int
    organization: int
    hour: str
    files: tuple[RecordFile, ...]
    accepted: int
    exported: int
    duplicates: int
    identifies: int
    filtered: int
    held: int
    first_server_upload_time: str | None
    last_server_upload_time: str | None
    event_dates: dict[str, int]
    settings: msgspec.Raw
    schema: LineSchema
    previous: PreviousHour | None


# The exporter's workers read their first records at the same moment.
decode_record = msgspec.json.Decoder(SealRecord).decode
_decode_settings = msgspec.json.Decoder(HourSettings | None).decode


class ManifestObject(msgspec.Struct, frozen=True):
    """Where a file lies in the bucket; `url` is the key as a URL's path has it."""

    name: str
    key: str
    url: str


class Manifest(msgspec.Struct, frozen=True):
    """The object delivered beside an hour's files; `seal` is the record, byte for byte."""

    format: int
    objects: tuple[ManifestObject, ...]
    seal_sha256: str
    seal: msgspec.Raw


def seal_record(
    due: DueScope,
    hour: Hour,
    counts: ProjectHourRow | None,
    dates: Mapping[str, int],
    files: Sequence[SealedFile],
) -> SealRecord:
    """Return the record of an hour; `counts` is None for an hour in which nothing was accepted."""
    return SealRecord(
        format=RECORD_FORMAT,
        scope=due.scope,
        organization=due.organization,
        hour=str(hour),
        files=tuple(_record_file(file) for file in files),
        accepted=0 if counts is None else counts.accepted,
        exported=0 if counts is None else counts.exported,
        duplicates=0 if counts is None else counts.duplicates,
        identifies=0 if counts is None else counts.identifies,
        filtered=0 if counts is None else counts.filtered,
        held=0 if counts is None else counts.held,
        first_server_upload_time=None if counts is None else _time_text(counts.first_stamp),
        last_server_upload_time=None if counts is None else _time_text(counts.last_stamp),
        event_dates=dict(sorted(dates.items())),
        settings=_canonical("null" if counts is None else counts.settings),
        schema=schema_of(due.scope, "null" if counts is None else counts.settings),
        previous=_previous(due, hour),
    )


def schema_of(scope: int, settings: str | bytes) -> LineSchema:
    """Return the layout that an hour's settings, as JSON, give its lines; without any, 49 keys."""
    if scope < 0:
        return MERGED_IDS_SCHEMA
    chosen = _decode_settings(settings)
    return EXTENDED_SCHEMA if chosen is not None and chosen.extended_columns else EVENTS_SCHEMA


def record_bytes(record: SealRecord) -> bytes:
    """Return the record's canonical bytes: compact JSON, keys in the order of the fields."""
    return msgspec.json.encode(record)


def digest(record: bytes) -> str:
    """Return the SHA-256 of a record's bytes in lower-case hex."""
    return hashlib.sha256(record).hexdigest()


def fault(record: SealRecord) -> str | None:
    """Return why an hour's accounting does not hold, as a clause; None if it does (promise 2)."""
    what = "events" if record.scope > 0 else "merges"
    counted = (
        record.exported + record.duplicates + record.identifies + record.filtered + record.held
    )
    if record.accepted != counted:
        return (
            f"{record.accepted} {what} were accepted, but {record.exported} exported + "
            f"{record.duplicates} duplicates + {record.identifies} identifies + "
            f"{record.filtered} filtered + {record.held} held are {counted}"
        )
    lines = sum(file.lines for file in record.files)
    if lines != record.exported:
        return f"{record.exported} {what} were exported, but the files hold {lines} lines"
    dated = sum(record.event_dates.values())
    if dated != record.exported:
        return f"{record.exported} {what} were exported, but the dates of {dated} were counted"
    return None


def manifest_body(record: bytes, sha256: str, prefix: str) -> bytes:
    """Return the manifest of a sealed hour for a destination's prefix, and of nothing else.

    The same hour and prefix give the same bytes in every run and release of this format.
    """
    sealed = decode_record(record)
    hour = Hour.parse(sealed.hour)
    numbers = [parse_file_name(file.name).number for file in sealed.files]
    keys = [file_key(prefix, sealed.scope, hour, number) for number in numbers]
    objects = tuple(
        ManifestObject(file.name, key, url_path(key))
        for file, key in zip(sealed.files, keys, strict=True)
    )
    manifest = Manifest(MANIFEST_FORMAT, objects, sha256, msgspec.Raw(record))
    return msgspec.json.encode(manifest) + b"\n"


def _record_file(file: SealedFile) -> RecordFile:
    return RecordFile(
        name=file.name,
        lines=file.lines,
        bytes=file.size_bytes,
        raw_bytes=file.raw_bytes,
        sha256=file.sha256,
        crc32=f"{file.crc32:08x}",
    )


def _previous(due: DueScope, hour: Hour) -> PreviousHour | None:
    if due.last_sealed_hour is None or due.last_digest is None:
        return None
    return PreviousHour(
        hour=str(Hour(due.last_sealed_hour)),
        sha256=due.last_digest,
        quiet_hours=hour.number - due.last_sealed_hour - 1,
    )


def _time_text(micros: int) -> str:
    # The lines carry whole milliseconds, so the record must too (behaviour 4.2, D1).
    return f"{to_datetime(micros - micros % 1000):%Y-%m-%d %H:%M:%S.%f}"


def _canonical(text: str) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(msgspec.json.decode(text), order="sorted"))
