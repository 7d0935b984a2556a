"""The rule of each event key: return the canonical value or raise `Fault` (section 3.1.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tailrace.collect.parsing import (
    SURROGATE,
    OutOfRange,
    Repeated,
    Written,
    has_surrogate,
    out_of_range,
    unsound,
    whole_characters,
)
from tailrace.collect.rules import (
    DEPTH_MAX,
    FLAG_FIELDS,
    LONG_FIELDS,
    LONG_MAX,
    LONG_MIN,
    NUMBER_FIELDS,
    OBJECT_FIELDS,
    STRING_LENGTH_MAX,
    TEXT_FIELDS,
    TEXT_OBJECT_FIELDS,
    TIME_MAX_MILLIS,
)

_TOO_DEEP = f"is nested deeper than {DEPTH_MAX} layers"


class Fault(ValueError):
    """A value breaks a rule; the message, if any, says which where the type alone doesn't."""

    @property
    def reason(self) -> str | None:
        return str(self) or None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Fault
    if has_surrogate(value):
        raise Fault(SURROGATE)
    return value[:STRING_LENGTH_MAX]


def _long(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not LONG_MIN <= value <= LONG_MAX:
        raise Fault
    return value


def _time(value: Any) -> int:
    millis = _long(value)
    if not 0 <= millis <= TIME_MAX_MILLIS:
        raise Fault
    return millis


def _number(value: Any) -> float:
    if isinstance(value, OutOfRange):
        raise Fault(out_of_range(value))
    if type(value) is not int and not isinstance(value, float):
        raise Fault
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Fault
    return value


def _text_or_flag(value: Any) -> str | bool:
    return value if isinstance(value, bool) else _text(value)


def _properties(value: Any) -> object:
    if not isinstance(value, dict):
        raise Fault
    return _clean(value, 1)


def _text_object(known: frozenset[str]) -> Callable[[Any], object]:
    def rule(value: Any) -> object:
        if not isinstance(value, dict):
            raise Fault
        reason = unsound(value)
        if reason is not None:
            raise Fault(reason)
        return {
            name: _text(given)
            for name, given in value.items()
            if name in known and given is not None
        }

    return rule


def _groups(value: Any) -> object:
    """Return type → text or list of texts; numbers become text, as identifiers do."""
    if not isinstance(value, dict):
        raise Fault
    reason = unsound(value)
    if reason is not None:
        raise Fault(reason)
    return {
        name: [_group(item) for item in given] if isinstance(given, list) else _group(given)
        for name, given in value.items()
        if given is not None
    }


def _group(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return _text(str(value) if type(value) is int or isinstance(value, float) else value)


def _clean(value: Any, layer: int) -> Any:
    """Return a property value with its strings cut; raise `Fault` for what can't be stored."""
    if isinstance(value, str):
        return _text(whole_characters(value))
    if isinstance(value, dict):
        if layer > DEPTH_MAX:
            raise Fault(_TOO_DEEP)
        if isinstance(value, Repeated):
            raise Fault(f'repeats the key "{value.key}"')
        if any(map(has_surrogate, value)):
            raise Fault(SURROGATE)
        return {key: _clean(item, layer + 1) for key, item in value.items()}
    if isinstance(value, list):
        if layer > DEPTH_MAX:
            raise Fault(_TOO_DEEP)
        return [_clean(item, layer + 1) for item in value]
    if isinstance(value, OutOfRange):
        raise Fault(out_of_range(value))
    if isinstance(value, Written):
        return msgspec.Raw(value.text.encode())
    if type(value) is int and not LONG_MIN <= value <= LONG_MAX:
        return msgspec.Raw(b"%d" % value)
    return value


RULES: dict[str, Callable[[Any], object]] = {
    **dict.fromkeys(TEXT_FIELDS, _text),
    **dict.fromkeys(LONG_FIELDS, _long),
    **dict.fromkeys(NUMBER_FIELDS, _number),
    **dict.fromkeys(OBJECT_FIELDS, _properties),
    **dict.fromkeys(FLAG_FIELDS, _flag),
    **{name: _text_object(known) for name, known in TEXT_OBJECT_FIELDS.items()},
    "time": _time,
    "paying": _text_or_flag,
    "groups": _groups,
}
