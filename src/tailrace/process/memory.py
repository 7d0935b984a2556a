"""What the processor keeps in memory: read caches bounded by bytes, and changes that can be undone.

Only this module decides how a failed attempt is taken back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, Final, Generic, TypeVar

G = TypeVar("G")
K = TypeVar("K")
V = TypeVar("V")

# What an uncommitted change with its key and value takes beside its text.
ENTRY_BYTES = 350
# As large a limit as none.
ENDLESS_BYTES = sys.maxsize
# What a dictionary takes for an entry, half full as it is on the average.
SLOT_BYTES = 100


class StateNeeded(Exception):
    """A portion met state that was not looked up for its batch; do that and repeat."""


class TooMuch(Exception):
    """A batch's look-ups bring more than may be brought at once; do it with fewer portions."""


class Absent:
    """The place of a value that was not there."""


ABSENT: Final = Absent()

# (mapping, key, what it held before), in the order of the changes.
Journal = list[tuple[dict[Any, Any], Any, Any]]


def put(journal: Journal, mapping: dict[K, V], key: K, value: V) -> None:
    """Set `mapping[key]` so that `undo` can take it back."""
    journal.append((mapping, key, mapping.get(key, ABSENT)))
    mapping[key] = value


def undo(journal: Journal) -> None:
    """Take back every change, newest first."""
    for mapping, key, before in reversed(journal):
        if before is ABSENT:
            del mapping[key]
        else:
            mapping[key] = before
    journal.clear()


def text_bytes(text: str | None) -> int:
    """Return what a text takes; a client's identifier may be 4 kB long."""
    return 0 if text is None else sys.getsizeof(text)


class Recent(Generic[G, K, V]):
    """A cache of the values used last, in groups, and in two generations of half the size each.

    A value used again moves to the young generation; when that is full the old one is dropped and
    the young one grows old. That is nearly "least recently used" at one dictionary look-up a use.
    `bytes_of` returns what an entry's key and value take.
    """

    def __init__(self, bytes_max: int, bytes_of: Callable[[K, V], int]) -> None:
        self._bytes_of = bytes_of
        self._young: dict[G, dict[K, V]] = {}
        self._old: dict[G, dict[K, V]] = {}
        self._young_bytes = 0
        self._half = bytes_max // 2
        self._room_bytes = ENDLESS_BYTES

    def group(self, group: G) -> dict[K, V]:
        """Return the young values of a group; the same dictionary until `age`."""
        return self._young.setdefault(group, {})

    def missing(self, group: G, keys: set[K]) -> Iterator[K]:
        """Bring the kept ones of `keys` into the young generation; yield the others."""
        young = self.group(group)
        old = self._old.get(group, {})
        for key in keys.difference(young):
            value = old.pop(key, ABSENT)
            if isinstance(value, Absent):
                yield key
            else:
                self.add(group, key, value)

    def add(self, group: G, key: K, value: V) -> None:
        """Keep a value that was looked up."""
        self.group(group)[key] = value
        self.count(key, value)

    def bring(self, group: G, key: K, value: V) -> None:
        """Keep a value that was read for this batch; raise `TooMuch` if it is one too many."""
        self.add(group, key, value)
        self._room_bytes -= self._bytes_of(key, value)
        if self._room_bytes < 0:
            raise TooMuch

    def limit(self, brought_bytes_max: int) -> None:
        """Let no more than this be brought from now on, beside what is remembered."""
        self._room_bytes = brought_bytes_max

    def crowded(self, more_bytes_max: int) -> bool:
        """Say whether the young generation is so much larger than it is to be that it should age.

        Changes make it so: they are not limited as look-ups are.
        """
        return self._young_bytes > self._half + more_bytes_max

    def count(self, key: K, value: V) -> None:
        """Count a value that is put into a group in another way."""
        self._young_bytes += SLOT_BYTES + self._bytes_of(key, value)

    def age(self) -> None:
        """Drop the old generation if the young one is full; only between batches."""
        if self._young_bytes >= self._half:
            self._old, self._young, self._young_bytes = self._young, {}, 0
