"""Which events came before: exact for 7 x 24 hours of append time (behaviour 4.1, D30)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from tailrace.process.memory import ENTRY_BYTES, Journal, put
from tailrace.state import processing_rows as rows

# D30. A first occurrence exactly this old still counts; one microsecond more and it does not.
WINDOW_MICROS = 7 * 24 * 3_600_000_000

# Per checkpoint the sweep looks at this many stored keys, and at twice the new ones: it then goes
# round before half as many keys have come as there are, and no checkpoint is long.
SWEEP_KEYS_MIN = 5_000
SWEEP_KEYS_PER_NEW = 2

# Partitions are read to slightly different times; no stamp can come this far behind the newest.
SWEEP_MARGIN_MICROS = 24 * 3_600_000_000

# When and where an event was first seen: (key, stamp, partition, position, index).
Seen = tuple[bytes, int, int, int, int]


class Dedupe:
    """First occurrences: those of the database, and those not committed yet."""

    def __init__(self, connection: rows.Connection, key: bytes, swept: bytes) -> None:
        self._connection = connection
        self._hash = hashlib.blake2b(digest_size=16, key=key)
        self._stored: dict[bytes, rows.Row] = {}
        self._changed: dict[bytes, Seen] = {}
        self._swept = swept

    def key(self, project: int, device_id: str, insert_id: str) -> bytes:
        """Return the keyed hash of an event's name; `device_id` is derived or empty (D30)."""
        state = self._hash.copy()
        state.update(f"{project} {len(device_id)} {device_id}{insert_id}".encode())
        return state.digest()

    def look_up(self, keys: Iterable[bytes]) -> None:
        """Learn what the database knows of a batch's keys, in place of the batch before."""
        wanted = {key for key in keys if key not in self._changed}
        found = rows.find_insertions(self._connection, wanted)
        self._stored = {row[0]: row for row in found}

    def is_duplicate(self, event: Seen, journal: Journal) -> bool:
        """Say whether another event with its key came within the window; if not, it is the first.

        Only the very same event (partition, position, index) is no duplicate of itself. A duplicate
        does not prolong the window.
        """
        key = event[0]
        first = self._changed.get(key) or self._stored.get(key)
        if first is not None and event[1] - first[1] <= WINDOW_MICROS:
            return first[2:] != event[2:]
        put(journal, self._changed, key, event)
        return False

    def changed_bytes(self) -> int:
        """Return about how much memory the uncommitted first occurrences take."""
        return len(self._changed) * ENTRY_BYTES

    def write(self, connection: rows.Connection, last_stamp: int) -> bytes:
        """Write what changed, and drop a bounded portion of what is too old at `last_stamp`.

        Returns where the sweep of the next checkpoint goes on; tell `saved` after the commit.
        """
        changed = sorted(self._changed.values())
        rows.write_insertions(connection, changed)
        portion = SWEEP_KEYS_MIN + SWEEP_KEYS_PER_NEW * len(changed)
        self._swept = rows.sweep_insertions(
            connection, self._swept, portion, last_stamp - WINDOW_MICROS - SWEEP_MARGIN_MICROS
        )
        return self._swept

    def saved(self) -> None:
        """Forget what is now in the database."""
        self._changed.clear()
        self._stored.clear()
