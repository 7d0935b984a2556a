"""The kill points of the product, read from its source, so that a new one can't be forgotten."""

from __future__ import annotations

import re
from pathlib import Path

import tailrace

SOURCE = Path(tailrace.__file__).parent

_CALL = re.compile(r"\bkillpoints\.reached\(")
_NAMED = re.compile(r'\bkillpoints\.reached\("([a-z_.]+)"\)')
_DERIVED = re.compile(r'\bkillpoints\.reached\(f"\{(?:self\._)?point\}\.([a-z_]+)"\)')
_STEM = re.compile(r'\bpoint(?:: str)? ?= ?"([a-z_.]+)"|\bFileBatch\([^()]*"([a-z_.]+)"[^()]*\)')


def kill_points(source: Path = SOURCE) -> list[str]:
    """Return every name with which the source calls `killpoints.reached`.

    Raise `ValueError` for a call whose name can't be read from the source.
    """
    names: set[str] = set()
    suffixes: set[str] = set()
    stems: set[str] = set()
    calls = understood = 0
    for path in sorted(source.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        calls += len(_CALL.findall(text))
        named, derived = _NAMED.findall(text), _DERIVED.findall(text)
        understood += len(named) + len(derived)
        names.update(named)
        suffixes.update(derived)
        stems.update(first or second for first, second in _STEM.findall(text))
    if calls != understood:
        raise ValueError(
            f"{calls - understood} calls of killpoints.reached in {source} have a name that "
            "torture/points.py can't read. Teach it."
        )
    return sorted(names | {f"{stem}.{suffix}" for stem in stems for suffix in suffixes})
