"""What an identify does to the properties of a user or a group (behaviour 4.4.2, D29).

Pure functions on decoded objects whose values stay JSON bytes: a number is never formatted anew.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

# A property's name, and its value as JSON.
Properties = dict[str, msgspec.Raw]

CLEAR_ALL = "$clearAll"

# What a list may grow to by operations, as JSON text; what stands behind is cut (4.4.2).
LIST_CHARACTERS_MAX = 10_000

_NUMBER = re.compile(rb"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_NULL = b"null"
# One character of a text; a pair of surrogates is one.
_ESCAPED = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u....|\\.")

_decode_object = msgspec.json.Decoder(Properties).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="deterministic").encode


def operated(stored: Properties, given: Properties) -> Properties:
    """Return the properties after an identify: its operations in the server's order, then plain
    keys as sets. What an operation can't be applied to stays as it is.
    """
    found = dict(stored)
    if CLEAR_ALL in given:
        found.clear()
    for name, operation in _OPERATIONS.items():
        operands = given.get(name)
        if operands is None or not _begins_with(operands, b"{"):
            continue
        for key, operand in _decode_object(operands).items():
            operation(found, key, operand)
    for key, value in given.items():
        if key not in OPERATION_NAMES:
            found[key] = value
    return found


def _unset(found: Properties, key: str, _: msgspec.Raw) -> None:
    found.pop(key, None)


def _set(found: Properties, key: str, operand: msgspec.Raw) -> None:
    found[key] = operand


def _set_once(found: Properties, key: str, operand: msgspec.Raw) -> None:
    if not _is_set(found, key):
        found[key] = operand


def _add(found: Properties, key: str, operand: msgspec.Raw) -> None:
    """Add numbers, also those in strings; leave what is no number, or would be beyond a double."""
    before = _number(found[key]) if _is_set(found, key) else 0
    more = _number(operand)
    if before is None or more is None:
        return
    try:
        total = before + more
        if not math.isfinite(total):
            return
    except OverflowError:
        return
    # The encoder takes whole numbers of 64 bits only.
    text = b"%d" % total if isinstance(total, int) else _encode(total)
    found[key] = msgspec.Raw(text)


def _append(found: Properties, key: str, operand: msgspec.Raw) -> None:
    _put_list(found, key, [*_elements_at(found, key), *_elements(operand)])


def _prepend(found: Properties, key: str, operand: msgspec.Raw) -> None:
    _put_list(found, key, [*_elements(operand), *_elements_at(found, key)])


def _pre_insert(found: Properties, key: str, operand: msgspec.Raw) -> None:
    before = _elements_at(found, key)
    _put_list(found, key, [*_not_among(_elements(operand), before), *before])


def _post_insert(found: Properties, key: str, operand: msgspec.Raw) -> None:
    before = _elements_at(found, key)
    _put_list(found, key, [*before, *_not_among(_elements(operand), before)])


def _remove(found: Properties, key: str, operand: msgspec.Raw) -> None:
    before = found.get(key)
    if before is None or not _begins_with(before, b"["):
        return
    elements = _decode_list(before)
    unwanted = {_likeness(one) for one in _elements(operand)}
    left = [one for one in elements if _likeness(one) not in unwanted]
    if len(left) < len(elements):
        found[key] = _list(left)


# In the order in which the server applies them; `$clearAll` comes before.
_OPERATIONS: dict[str, Callable[[Properties, str, msgspec.Raw], None]] = {
    "$unset": _unset,
    "$set": _set,
    "$setOnce": _set_once,
    "$add": _add,
    "$append": _append,
    "$prepend": _prepend,
    "$preInsert": _pre_insert,
    "$postInsert": _post_insert,
    "$remove": _remove,
}

# What is no plain key. Nothing is known of `$delete`: it does nothing (D29).
UNSUPPORTED = "$delete"
OPERATION_NAMES = frozenset((CLEAR_ALL, *_OPERATIONS, UNSUPPORTED))


def _is_set(found: Properties, key: str) -> bool:
    value = found.get(key)
    return value is not None and bytes(value) != _NULL


def _begins_with(value: msgspec.Raw, byte: bytes) -> bool:
    return bytes(memoryview(value)[:1]) == byte


def _elements(value: msgspec.Raw) -> list[msgspec.Raw]:
    return _decode_list(value) if _begins_with(value, b"[") else [value]


def _elements_at(found: Properties, key: str) -> list[msgspec.Raw]:
    return _elements(found[key]) if _is_set(found, key) else []


def _not_among(given: Iterable[msgspec.Raw], present: Iterable[msgspec.Raw]) -> list[msgspec.Raw]:
    seen = {_likeness(one) for one in present}
    new = []
    for one in given:
        likeness = _likeness(one)
        if likeness not in seen:
            seen.add(likeness)
            new.append(one)
    return new


def _likeness(value: msgspec.Raw) -> bytes:
    """Return bytes that equal values share, however their numbers and keys are written."""
    return _encode_sorted(_alike(_decode(value)))


def _alike(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        # Beyond 64 bits the encoder takes no whole number; texts get another first byte.
        return f"#{value}"
    if isinstance(value, str):
        return f'"{value}'
    if isinstance(value, list):
        return [_alike(one) for one in value]
    if isinstance(value, dict):
        return {key: _alike(one) for key, one in value.items()}
    return value


def _put_list(found: Properties, key: str, elements: list[msgspec.Raw]) -> None:
    """Set a list, cut where it would be too long; one that was set longer gets no longer."""
    text = _list(elements)
    if len(text) > LIST_CHARACTERS_MAX:
        before = _list(_elements_at(found, key))
        text = _cut(elements, max(LIST_CHARACTERS_MAX, _characters(before)))
    found[key] = text


def _cut(elements: list[msgspec.Raw], characters_max: int) -> msgspec.Raw:
    # Of each element its comma too, or the bracket behind it.
    length = 1
    for kept, one in enumerate(elements):
        length += _characters(one) + 1
        if length > characters_max:
            return _list(elements[:kept])
    return _list(elements)


def _characters(value: msgspec.Raw) -> int:
    """Return how long JSON is however its text is written: an escaped character is one."""
    text = bytes(value).decode()
    return len(_ESCAPED.sub(".", text) if "\\" in text else text)


def _list(elements: list[msgspec.Raw]) -> msgspec.Raw:
    return msgspec.Raw(b"[%b]" % b",".join(map(bytes, elements)))


def _number(value: msgspec.Raw) -> int | float | None:
    text = bytes(value)
    if text[:1] == b'"':
        text = _decode_text(value).strip().encode()
    if not _NUMBER.fullmatch(text):
        return None
    number = int(text) if text.lstrip(b"-").isdigit() else float(text)
    return number if isinstance(number, int) or math.isfinite(number) else None
