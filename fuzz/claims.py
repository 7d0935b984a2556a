"""What every target says about an outcome: a claim holds, or it is a finding."""

from __future__ import annotations

import json
from typing import Any


class Finding(AssertionError):
    """Something happened that never may, whatever the input."""


class NotJson(Exception):
    """The text is no JSON as the standard has it."""


def claim(holds: object, finding: str) -> None:
    """Raise `Finding` unless something holds."""
    if not holds:
        raise Finding(finding)


def strict_json(text: bytes) -> Any:
    """Parse JSON without what Python adds to it; raise `NotJson` also for a repeated key."""
    try:
        return _decoder.decode(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise NotJson(str(error)) from error


def same(one: Any, other: Any) -> bool:
    """Return whether two parsed JSON values are the same, to the type and sign of each number."""
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(same(value, other[key]) for key, value in one.items())
        )
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and repr(one) == repr(other)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is repeated")
    return found


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
