"""What a client sent and what it heard: the only knowledge that the proof has beside the bucket."""

from __future__ import annotations

import threading

import msgspec


class Sent(msgspec.Struct, frozen=True, gc=False):
    """One event of an attempt. Repeats carry the same `client`, `request` and `index`.

    An event without insert ID (`keyed` False) can't be told from its repeats: each is exported.
    """

    client: int
    request: int
    index: int
    identify: bool
    keyed: bool


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One POST. `number` counts the attempts of one request; `events` are in the body's order.

    `status` is None without an answer; `upload_millis` is what a 200 said.
    """

    project: int
    client: int
    request: int
    number: int
    events: tuple[Sent, ...]
    status: int | None
    upload_millis: int | None


class Memory:
    """All attempts, from all clients' threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._attempts: list[Attempt] = []
        self.acknowledged = 0

    def keep(self, attempt: Attempt) -> None:
        """Remember what came of an attempt."""
        with self._lock:
            self._attempts.append(attempt)
            self.acknowledged += attempt.status == 200

    def all(self) -> list[Attempt]:
        """Return what is remembered so far."""
        with self._lock:
            return list(self._attempts)
