"""Parse JSON text and keep what a plain value can't hold as marks, to be judged later."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

# No whole number that fits a double is longer; it also keeps Python from refusing the text.
_DIGITS_MAX = 310

_HALVES = re.compile("[\ud800-\udfff]")
SURROGATE = "holds half of a surrogate pair, which is no character"


class Repeated(dict[str, Any]):
    """An object in which `key` stood more than once."""

    key: str


class OutOfRange:
    """A number that no double can hold."""

    def __init__(self, text: str) -> None:
        self.text = text


class NotANumber(OutOfRange):
    """NaN or Infinity, which JSON doesn't know but Python's SDK writes.

    It is judged where it stands, so that the answer names its event: of a body that is no JSON at
    all, SDKs would give up every event.
    """


class Written(float):
    """A number that is written in another way than Python would; `text` is how it was sent."""

    __slots__ = ("text",)
    text: str


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    repeated = Repeated(found)
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            repeated.key = key
            break
        seen.add(key)
    return repeated


def _float(text: str) -> float | OutOfRange:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        return OutOfRange(text)
    if repr(value) == text:
        return value
    written = Written(value)
    written.text = text
    return written


def _int(text: str) -> int | OutOfRange:
    if len(text) > _DIGITS_MAX:
        return OutOfRange(text)
    value = int(text)
    try:
        float(value)
    except OverflowError:
        return OutOfRange(text)
    return value


parse: Callable[[str], Any] = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_float, parse_int=_int, parse_constant=NotANumber
).decode


def unsound(value: Any) -> str | None:
    """Return what makes a value that is otherwise ignored no sound JSON; depth is no matter."""
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            if has_surrogate(item):
                return SURROGATE
        elif isinstance(item, Repeated):
            return f'repeats the key "{item.key}"'
        elif isinstance(item, dict):
            left.extend(item)
            left.extend(item.values())
        elif isinstance(item, list):
            left.extend(item)
        elif isinstance(item, OutOfRange):
            return out_of_range(item)
    return None


def out_of_range(number: OutOfRange) -> str:
    if isinstance(number, NotANumber):
        return f"holds {number.text}, which is no JSON value"
    return f"holds the number {number.text[:40]}, which is out of range"


def has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def whole_characters(text: str) -> str:
    """Return the text with U+FFFD for each half of a surrogate pair.

    SDKs of browsers cut text without regard to pairs, also in the middle of an emoji: it would be
    a pity to lose the event.
    """
    return _HALVES.sub("\ufffd", text) if has_surrogate(text) else text
