"""Which events came before: exact for 7 x 24 hours of append time (behaviour 4.1, D30)."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import xxhash

from tailrace.process.memory import ENTRY_BYTES
from tailrace.state import processing_rows as rows
from tailrace.state.processing_schema import KEYED, SEEDED

# D30. A first occurrence exactly this old still counts; one microsecond more and it does not.
WINDOW_MICROS = 7 * 24 * 3_600_000_000

# Partitions are read to slightly different times; no stamp can come this far behind the newest.
MARGIN_MICROS = 24 * 3_600_000_000

NONE: frozenset[int] = frozenset()


class Insertions(Protocol):
    """The committed keys, each with the stamp of its newest first occurrence."""

    def find(self, keys: Collection[bytes]) -> dict[bytes, int]:
        """Return the stamps of those keys that are known."""
        ...

    def write(
        self,
        connection: rows.Connection,
        keys: Mapping[bytes, int],
        *,
        last_stamp: int,
        older_than: int,
    ) -> None:
        """Add keys, and drop what lies before `older_than`; inside the commit's transaction."""
        ...

    def saved(self) -> None:
        """Count what was written, after the commit."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


class Dedupe:
    """First occurrences: those that are committed, and those that are not yet."""

    def __init__(self, insertions: Insertions, secret: bytes, hash_name: str = SEEDED) -> None:
        """Name events by the hash under which the committed keys were made."""
        self._insertions = insertions
        self._seed = int.from_bytes(secret[:8], "little")
        keyed = hashlib.blake2b(digest_size=16, key=secret)
        self._keyed = keyed if hash_name == KEYED else None
        self._stored: dict[bytes, int] = {}
        self._changed: dict[bytes, int] = {}
        self._claimed: Sequence[bytes] = ()
        self._replaced: dict[bytes, int] = {}

    def key(self, project: int, device_id: str, insert_id: str) -> bytes:
        """Return the seeded or keyed 128-bit hash of an event's name.

        `device_id` is derived or empty (D30). Nobody can try for two names of one hash without
        the seed, and whoever found two could only make events of their own project repeat.
        """
        name = f"{project} {len(device_id)} {device_id}{insert_id}".encode()
        if self._keyed is None:
            return xxhash.xxh3_128_digest(name, self._seed)
        state = self._keyed.copy()
        state.update(name)
        return state.digest()

    def look_up(self, keys: Collection[bytes]) -> None:
        """Learn what is committed of a batch's keys, in place of the batch before."""
        self._stored = self._insertions.find(keys)

    def claim(self, keys: Sequence[bytes | None], stamp: int) -> Collection[int]:
        """Return which of a portion's events are duplicates; the others are first occurrences now.

        `keys` are in the order of the events, None for those without an insert ID. A duplicate
        does not prolong the window. `give_back` undoes the last claim.
        """
        given = [key for key in keys if key is not None]
        changed = self._changed
        self._replaced = {}
        once = dict.fromkeys(given, stamp)
        if (
            len(once) == len(given)
            and changed.keys().isdisjoint(once)
            and self._stored.keys().isdisjoint(once)
        ):
            self._claimed = given
            changed.update(once)
            return NONE
        return self._claim_each(keys, stamp)

    def _claim_each(self, keys: Sequence[bytes | None], stamp: int) -> Collection[int]:
        duplicates = set()
        claimed: list[bytes] = []
        self._claimed = claimed
        for offset, key in enumerate(keys):
            if key is None:
                continue
            first = self._changed.get(key) or self._stored.get(key)
            if first is not None and stamp - first <= WINDOW_MICROS:
                duplicates.add(offset)
                continue
            if key in self._changed:
                self._replaced[key] = self._changed[key]
            else:
                claimed.append(key)
            self._changed[key] = stamp
        return duplicates

    def give_back(self) -> None:
        """Undo the last claim: its portion failed."""
        for key in self._claimed:
            del self._changed[key]
        self._changed |= self._replaced
        self._claimed = ()
        self._replaced = {}

    def changed_bytes(self) -> int:
        """Return about how much memory the uncommitted first occurrences take."""
        return len(self._changed) * ENTRY_BYTES

    def write(self, connection: rows.Connection, last_stamp: int) -> None:
        """Write what changed, and drop what is too old at `last_stamp`; then call `saved`."""
        self._insertions.write(
            connection,
            self._changed,
            last_stamp=last_stamp,
            older_than=last_stamp - WINDOW_MICROS - MARGIN_MICROS,
        )

    def saved(self) -> None:
        """Forget what is now committed."""
        self._insertions.saved()
        self._changed.clear()
        self._stored.clear()

    def close(self) -> None:
        """Give everything back."""
        self._insertions.close()
