"""Objects of properties as state keeps them and lines show them: JSON bytes, changed seldom.

Each function returns the very object that it was given where nothing changes.
"""

from __future__ import annotations

import msgspec

from tailrace.process.operations import OPERATION_NAMES, UNSUPPORTED, Properties, operated
from tailrace.upload import EMPTY_OBJECT

_decode = msgspec.json.Decoder(Properties).decode
_encode = msgspec.json.Encoder().encode


def is_empty(properties: msgspec.Raw) -> bool:
    """Say whether an object has no keys."""
    return properties is EMPTY_OBJECT or bytes(properties).lstrip(b"{ \t\r\n")[:1] == b"}"


def stored_object(stored: bytes | None) -> msgspec.Raw:
    """Return an object as the database keeps it; one without keys is `EMPTY_OBJECT` itself."""
    return EMPTY_OBJECT if stored is None or stored == b"{}" else msgspec.Raw(stored)


def without_operations(properties: msgspec.Raw) -> msgspec.Raw:
    """Return user properties of an ordinary event without operation keys (D29)."""
    if b"$" not in bytes(properties) and b"\\u0024" not in bytes(properties):
        return properties
    found = _decode(properties)
    if OPERATION_NAMES.isdisjoint(found):
        return properties
    return msgspec.Raw(
        _encode({name: value for name, value in found.items() if name not in OPERATION_NAMES})
    )


def laid_over(stored: msgspec.Raw, given: msgspec.Raw) -> msgspec.Raw:
    """Return `stored` with every key of `given` set: what plain properties of an event do."""
    if given is EMPTY_OBJECT or given == stored:
        return stored
    if stored is EMPTY_OBJECT or is_empty(stored):
        # A view would keep the whole request in memory.
        return stored if is_empty(given) else given.copy()
    wanted = _decode(given)
    if not wanted:
        return stored
    found = _decode(stored)
    changed = False
    for key, value in wanted.items():
        if found.get(key) != value:
            found[key] = value
            changed = True
    return msgspec.Raw(_encode(found)) if changed else stored


def identified(stored: msgspec.Raw, given: msgspec.Raw) -> msgspec.Raw:
    """Return `stored` after an identify that carries `given`, operations and plain keys."""
    wanted = _decode(given)
    if OPERATION_NAMES.isdisjoint(wanted):
        return laid_over(stored, given)
    before = _decode(stored)
    after = operated(before, wanted)
    if after == before:
        return stored
    return msgspec.Raw(_encode(after)) if after else EMPTY_OBJECT


def fitting(properties: msgspec.Raw, before: msgspec.Raw, bytes_max: int) -> bool:
    """Say whether properties may be remembered: those that are too large may only get smaller."""
    return len(properties) <= bytes_max or len(properties) <= len(before)


def has_unsupported(given: msgspec.Raw) -> bool:
    """Say whether an identify asks for an operation of which nothing is known."""
    return UNSUPPORTED in _decode(given)
