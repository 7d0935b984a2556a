"""Read the body that well-behaved SDKs send: one typed decode and exact guards over all of it.

Whatever doesn't pass, good or bad, is left to `strict`; this module refuses nothing and accepts
only what is canonical as it was sent.
"""

from __future__ import annotations

import types
import typing
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tailrace.collect.limits import Limits
from tailrace.collect.rules import (
    GROUP_IDENTIFY,
    INVALID_IDS,
    LONG_MAX,
    LONG_MIN,
    STRING_LENGTH_MAX,
    TEXT_OBJECT_FIELDS,
    TIME_MAX_MILLIS,
    Accepted,
)
from tailrace.upload import Upload, UploadEvent, UploadOptions

_Text = Annotated[str, Meta(max_length=STRING_LENGTH_MAX)]
_Long = Annotated[int, Meta(ge=LONG_MIN, le=LONG_MAX)]
_Time = Annotated[int, Meta(ge=0, le=TIME_MAX_MILLIS)]
# Deeper properties are legal, rare and read by `strict`; a fixed depth bounds them without a walk.
_TYPED_DEPTH = 6


def _property_type() -> Any:
    value: Any = _Text | _Long | float | bool | None
    for _ in range(_TYPED_DEPTH):
        value = _Text | _Long | float | bool | None | list[value] | dict[str, value]
    return dict[str, value]


def _fast_type(name: str, kind: Any, properties: Any) -> Any:
    if name == "time":
        return _Time | None
    if name == "groups":
        return dict[str, _Text | list[_Text]]
    if kind is msgspec.Raw:
        return properties
    if isinstance(kind, types.UnionType):
        members = [_fast_type("", member, properties) for member in typing.get_args(kind)]
        return typing.Union[tuple(members)]  # noqa: UP007 - built from a list
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _fast_struct(kind, properties)
    return {str: _Text, int: _Long}.get(kind, kind)


def _fast_struct(struct: type[msgspec.Struct], properties: Any = None) -> type[msgspec.Struct]:
    """Return the struct with bounded types, which encodes just the keys that were sent.

    A key whose default may not be sent as null stays unset; its null is left to `strict`.
    """
    fields: list[Any] = []
    for field in msgspec.structs.fields(struct):
        kind = _fast_type(field.encode_name, field.type, properties)
        if field.required:
            fields.append((field.name, kind, msgspec.field(name=field.encode_name)))
        elif field.default is None:
            fields.append((field.name, kind, msgspec.field(default=None, name=field.encode_name)))
        else:
            unset = msgspec.field(default=UNSET, name=field.encode_name)
            fields.append((field.name, kind | UnsetType, unset))
    return msgspec.defstruct(f"Fast{struct.__name__}", fields, gc=False, omit_defaults=True)


def _upload_struct() -> Any:
    event: Any = _fast_struct(UploadEvent, _property_type())
    options: Any = _fast_struct(UploadOptions)
    fields: list[Any] = [
        ("api_key", str),
        ("events", list[event]),
        ("options", options | None, None),
        ("client_upload_time", _Text | None, None),
        ("request_metadata", _property_type() | None, None),
    ]
    return msgspec.defstruct("FastUpload", fields, gc=False, omit_defaults=True)


_EVENT_KEYS = {field.encode_name for field in msgspec.structs.fields(UploadEvent)}
_REQUEST_KEYS = {"events", "options", "request_metadata"}
_decode = msgspec.json.Decoder(_upload_struct()).decode
_encode = msgspec.json.Encoder().encode


class FastUpload:
    """A typed upload whose guards have still to be passed."""

    def __init__(self, body: bytes, upload: Upload, limits: Limits) -> None:
        self.api_key: str = upload.api_key or ""
        self._body = body
        self._upload = upload
        self._limits = limits

    def accept(self) -> Accepted | None:
        """Return the body as it was sent if it is canonical, else None."""
        body, upload = self._body, self._upload
        count = len(upload.events)
        if not 0 < count <= self._limits.events_max:
            return None
        # A line feed between tokens would cut the exported line, and so would a carriage return.
        if b"\n" in body or b"\r" in body:
            return None
        if not (_ids_are_canonical(upload, self._limits) and _has_no_repeated_key(body, upload)):
            return None
        return Accepted(body, count, upload.client_upload_time)


def open_fast(body: bytes, limits: Limits) -> FastUpload | None:
    """Decode the body, or return None if any of it isn't as the types want it."""
    try:
        upload = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return FastUpload(body, upload, limits)


def _ids_are_canonical(upload: Upload, limits: Limits) -> bool:
    events = upload.events
    length_min = limits.id_length_min
    if upload.options is not None and upload.options.min_id_length is not None:
        length_min = upload.options.min_id_length
    users = [event.user_id for event in events]
    devices = [event.device_id for event in events]
    if (None, None) in zip(users, devices, strict=True) and any(
        event.user_id is None and event.device_id is None and event.event_type != GROUP_IDENTIFY
        for event in events
    ):
        return False
    ids: set[str | None] = {*users, *devices}
    ids.discard(None)
    texts = typing.cast("set[str]", ids)
    if texts and min(map(len, texts)) < max(length_min, 1):
        return False
    # One pass over all identifiers: trimming and folding are calls into C.
    if list(map(str.strip, texts)) != list(texts):
        return False
    if not INVALID_IDS.isdisjoint(map(str.lower, texts)):
        return False
    return all(map(str.strip, {event.event_type for event in events}))


def _has_no_repeated_key(body: bytes, upload: Upload) -> bool:
    r"""Return True only if no object of the body, at any depth, repeats a key.

    A decoded object holds each key once, so encoding it again gives as many colons as the body
    has, unless a key was repeated: strings keep theirs. Two things could hide the difference: a
    colon written as `\u003a`, and keys that the types leave out, which are counted by decoding
    without types. A difference for another reason costs time, never a wrong answer.
    """
    # The search for one byte is a hundred times faster, and most bodies have no backslash.
    if b"\\" in body and b"\\u003" in body:
        return False
    colons = body.count(b":")
    if _encode(upload).count(b":") == colons:
        return True
    # Of a large body, the typed events make room for those without types.
    upload.events.clear()
    try:
        whole = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return _encode(whole).count(b":") == colons and _ignores_nothing_nested(whole)


def _ignores_nothing_nested(whole: dict[str, Any]) -> bool:
    """Return whether every value without a type is plain: the types bound all the rest."""
    ignored = [whole[name] for name in whole.keys() - _REQUEST_KEYS]
    ignored.extend((whole.get("options") or {}).values())
    for event in whole["events"]:
        ignored.extend([event[name] for name in event.keys() - _EVENT_KEYS])
        for name in TEXT_OBJECT_FIELDS:
            ignored.extend((event.get(name) or {}).values())
    return not any(
        isinstance(value, dict | list)
        # Without a type a whole number may be longer than any double is; `strict` refuses those.
        or (isinstance(value, int) and not LONG_MIN <= value <= LONG_MAX)
        for value in ignored
    )
