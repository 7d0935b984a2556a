"""What a value of each event key must be, and the list of faults that makes a 400.

`fast` and `strict` read bodies by these rules; both must come to the same canonical events.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from tailrace.collect import answers
from tailrace.collect.answers import Answer
from tailrace.upload import IngestionMetadata, Plan, UploadEvent

STRING_LENGTH_MAX = 1024  # characters, longer ones are cut (section 3.1.3)
DEPTH_MAX = 40  # layers of a property object (D14)
TIME_MAX_MILLIS = 253_402_300_799_999  # the last millisecond of the year 9999 (D28)
LONG_MIN, LONG_MAX = -(2**63), 2**63 - 1

# Section 3.1.4, compared in lower case after trimming.
INVALID_IDS = frozenset(
    {
        "anonymous",
        "nil",
        "none",
        "null",
        "n/a",
        "na",
        "undefined",
        "unknown",
        "00000000-0000-0000-0000-000000000000",
        "{}",
        "lmy47d",
        "0",
        "-1",
    }
)
ID_FIELDS = ("user_id", "device_id")
GROUP_IDENTIFY = "$groupidentify"  # needs no identifier (section 3.1.11)


def _fields_of(kind: object) -> frozenset[str]:
    fields = msgspec.structs.fields(UploadEvent)
    return frozenset(field.encode_name for field in fields if field.type == kind)


TEXT_FIELDS = (_fields_of(str | None) | _fields_of(str)) - {*ID_FIELDS}
LONG_FIELDS = _fields_of(int | None) - {"time"}
NUMBER_FIELDS = _fields_of(float | None)
OBJECT_FIELDS = _fields_of(msgspec.Raw) - {"groups"}
FLAG_FIELDS = _fields_of(bool)
TEXT_OBJECT_FIELDS = {
    name: frozenset(field.encode_name for field in msgspec.structs.fields(kind))
    for name, kind in (("plan", Plan), ("ingestion_metadata", IngestionMetadata))
}


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """A body that passed every rule: what the log stores, and what its header needs."""

    body: bytes
    events: int
    client_upload_time: str | float | None


class OpenUpload(Protocol):
    """A body that was read as far as its API key and the presence of its events."""

    api_key: str

    def accept(self) -> Accepted:
        """Check every event; raise `Refused` with all faults of the request."""
        ...


class Faults:
    """The bad indexes of one request, by kind and field (D13, D14)."""

    def __init__(self) -> None:
        self._missing: dict[str, list[int]] = {}
        self._invalid: dict[str, list[int]] = {}
        self._short: dict[str, list[int]] = {}
        self._only_short = True
        self._detail: str | None = None

    def __bool__(self) -> bool:
        return bool(self._missing or self._invalid)

    def missing(self, field: str, index: int) -> None:
        """Note an event without a required field."""
        self._missing.setdefault(field, []).append(index)

    def invalid(self, field: str, index: int, reason: str | None = None) -> None:
        """Note a wrong value; `reason` says why where the field's type alone doesn't."""
        self._only_short = False
        self._note_invalid(answers.echo(field), index)
        if reason is not None and self._detail is None:
            self._detail = f"{answers.echo(field)} of event {index} {answers.echo(reason)}."

    def short(self, field: str, index: int) -> None:
        """Note an identifier under the minimum; some SDKs drop only *invalid* indexes (D13)."""
        self._short.setdefault(field, []).append(index)
        self._note_invalid(field, index)

    def _note_invalid(self, field: str, index: int) -> None:
        indexes = self._invalid.setdefault(field, [])
        if not indexes or indexes[-1] != index:
            indexes.append(index)

    def answer(self) -> Answer:
        """Return the one 400 that names them all."""
        maps = (
            ("events_with_missing_fields", self._missing),
            ("events_with_invalid_fields", self._invalid),
            ("events_with_invalid_id_lengths", self._short),
        )
        if self._missing:
            error = "Request missing required field"
        elif not self._only_short:
            error = "Invalid field values on some events"
        else:
            error = "Invalid id length for user_id or device_id"
        keys = {name: indexes for name, indexes in maps if indexes}
        return answers.failure(400, error, keys, detail=self._detail)
