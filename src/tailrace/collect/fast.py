"""Read the body that well-behaved SDKs send: one typed decode and exact guards over all of it.

Whatever doesn't pass, good or bad, is left to `strict`; this module refuses nothing and accepts
only what is canonical as it was sent.
"""

from __future__ import annotations

import types
import typing
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from msgspec.structs import astuple

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
    """Return the struct with bounded types, in which a key that was not sent is None.

    It encodes just the keys that were sent, but for nulls. A null that the type doesn't allow is
    left to `strict`.
    """
    fields: list[Any] = []
    for field in msgspec.structs.fields(struct):
        kind = _fast_type(field.encode_name, field.type, properties)
        if field.required:
            fields.append((field.name, kind, msgspec.field(name=field.encode_name)))
        else:
            fields.append((field.name, kind, msgspec.field(default=None, name=field.encode_name)))
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


# The longest invalid identifier in which case matters. Folding keeps the length of all text that
# folds to ASCII, so a longer one need not be folded.
_FOLDED_LENGTH_MAX = max(len(text) for text in INVALID_IDS if text.upper() != text)
_GLANCE_BYTES = 2048
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
    length_min = limits.id_length_min
    if upload.options is not None and upload.options.min_id_length is not None:
        length_min = upload.options.min_id_length
    length_min = max(length_min, 1)
    for event in upload.events:
        user, device = event.user_id, event.device_id
        # Spelled out for both: a call for each costs more than all that it would do.
        if user is None:
            if device is None and event.event_type != GROUP_IDENTIFY:
                return False
        elif (
            len(user) < length_min
            or user.strip() != user
            or user in INVALID_IDS
            or (len(user) <= _FOLDED_LENGTH_MAX and user.lower() in INVALID_IDS)
        ):
            return False
        if device is not None and (
            len(device) < length_min
            or device.strip() != device
            or device in INVALID_IDS
            or (len(device) <= _FOLDED_LENGTH_MAX and device.lower() in INVALID_IDS)
        ):
            return False
        if not event.event_type.strip():
            return False
    return True


def _has_no_repeated_key(body: bytes, upload: Upload) -> bool:
    r"""Return True only if no object of the body, at any depth, repeats a key.

    Each pair of a key and a value has a colon, so a body with no more colons than decoded keys
    repeats none. Others hold colons in strings too, or nested objects, or keys that the types
    leave out. These are encoded again: a decoded object holds each key once, so that gives as
    many colons as the body has, unless a key was repeated: strings keep theirs. Two things could
    hide the difference: a colon written as `\u003a`, and keys that the types leave out, which are
    counted by decoding without types. A difference for another reason costs time, never a wrong
    answer.
    """
    colons = body.count(b":")
    # Events of one body are alike: with an address in the first there are more colons than keys.
    if b"://" not in body[:_GLANCE_BYTES] and _count_keys(upload) == colons:
        return True
    # The search for one byte is a hundred times faster, and most bodies have no backslash.
    if b"\\" in body and b"\\u003" in body:
        return False
    if _encode(upload).count(b":") == colons:
        return True
    # Of a large body, the typed events make room for those without types.
    upload.events.clear()
    try:
        whole = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return _encode(whole).count(b":") == colons and _ignores_nothing_nested(whole)


def _count_keys(upload: Any) -> int:
    """Return how many keys were decoded, but for those of objects that lie deeper."""
    count = _count_sent(upload)
    for event in upload.events:
        fields = astuple(event)
        count += len(fields) - fields.count(None)
        if event.event_properties is not None:
            count += len(event.event_properties)
        if event.user_properties is not None:
            count += len(event.user_properties)
        if event.groups is not None:
            count += len(event.groups)
        if event.plan is not None:
            count += _count_sent(event.plan)
    if upload.options is not None:
        count += _count_sent(upload.options)
    return count


def _count_sent(struct: msgspec.Struct) -> int:
    fields = astuple(struct)
    return len(fields) - fields.count(None)


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
