"""`Waiting`: which project-hours have enough committed chunks for a file before their hour ends."""

from __future__ import annotations

from tailrace.state import sealing
from tailrace.state.processing import ProcessingStore

Key = tuple[int, int]

# Sums kept in memory, some 10 MiB. When more project-hours are open, the smaller half is forgotten:
# their chunks are then counted from there on, and joined at the hour's end at the latest.
KEYS_MAX = 65_536


class Waiting:
    """Compressed bytes that wait for a file, per project and hour, added up as chunks appear.

    Never asks for more than what is new, so that thousands of quiet projects cost nothing. A sum
    may be too high, where chunks were rewritten meanwhile; whoever takes a key counts exactly.
    """

    def __init__(self, store: ProcessingStore, partition_bytes: int) -> None:
        self._connection = store.connection
        self._partition_bytes = partition_bytes
        self._seen_chunk = 0
        self._sums: dict[Key, int] = {}
        self._full: set[Key] = set()

    def look(self) -> None:
        """Add up what was committed since the last look."""
        for project, hour, size, newest in sealing.chunk_bytes_after(
            self._connection, self._seen_chunk
        ):
            self._seen_chunk = max(self._seen_chunk, newest)
            self._set((project, hour), self._sums.get((project, hour), 0) + size)
        if len(self._sums) > KEYS_MAX:
            self._forget_smaller_half()

    def take_full(self) -> Key | None:
        """Return the oldest project-hour that holds a whole file; None if none does."""
        while self._full:
            key = min(self._full, key=lambda candidate: (candidate[1], candidate[0]))
            self.recount(key)
            if key in self._full:
                return key
        return None

    def recount(self, key: Key) -> None:
        """Count a project-hour exactly, after its chunks went into a file or were rewritten."""
        self._full.discard(key)
        self._set(key, sealing.chunk_bytes(self._connection, *key))

    def forget(self, key: Key) -> None:
        """Leave a project-hour out until something is added to it."""
        self._full.discard(key)
        self._sums.pop(key, None)

    def forget_through(self, hour: int) -> None:
        """Leave out everything up to a closed hour."""
        for key in [key for key in self._sums if key[1] <= hour]:
            self.forget(key)

    def _set(self, key: Key, size: int) -> None:
        self._sums[key] = size
        if size >= self._partition_bytes:
            self._full.add(key)

    def _forget_smaller_half(self) -> None:
        for key in sorted(self._sums, key=self._sums.__getitem__)[: KEYS_MAX // 2]:
            self.forget(key)
