"""How many workers are at each destination, so that slow stores leave some to all others.

Kept by the exporter, in memory: what is slow shows itself again after a restart.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator

from tailrace.state.delivery import AUTOMATIC, Cause, Delivery

# What a store that holds its workers is told by: silence, or more time than a request may take.
_SLOW_CODES = {"Overrun", "ReadTimeoutError", "ConnectTimeoutError"}


class AtWork:
    """Counts workers by destination, also such as hang there beyond their lease.

    Without it a store that never ends an answer would be given one worker after the other. A
    destination is slow from a request that ran out of time until a run ends well; all slow ones
    together get at most half of the workers, and so do all manual exports, which leave one place at
    each destination too: an hour that is sealed finds a worker.
    """

    def __init__(self, *, workers: int, per_destination: int) -> None:
        self._per_destination = per_destination
        self._slow_max = max(1, workers // 2)
        self._manual_max = max(1, workers // 2)
        self._manual_limit = max(1, per_destination - 1)
        self._lock = threading.Lock()
        # Two claims at once would each count without the other's run.
        self._claiming = threading.Lock()
        self._counts: Counter[int] = Counter()
        self._manual: Counter[int] = Counter()
        self._slow: set[int] = set()

    def claim(self, claim: Callable[[list[int]], Delivery | None]) -> Delivery | None:
        """Take a run with `claim`, which gets the destinations to pass over, and count its worker.

        Whoever has it works inside `leaving`.
        """
        with self._claiming:
            return self._counted(claim(self._passing_over()))

    def claim_manual(self, claim: Callable[[list[int], int], Delivery | None]) -> Delivery | None:
        """Take a manual export's run in the same way; `claim` also gets a destination's limit."""
        with self._claiming:
            with self._lock:
                full = [of for of, n in self._manual.items() if n >= self._manual_limit]
                if self._manual.total() >= self._manual_max:
                    return None
            return self._counted(claim([*self._passing_over(), *full], self._manual_limit))

    def _counted(self, held: Delivery | None) -> Delivery | None:
        if held is not None:
            with self._lock:
                self._count(held, 1)
        return held

    def _count(self, held: Delivery, change: int) -> None:
        self._counts[held.destination_id] += change
        if held.manual_export != AUTOMATIC:
            self._manual[held.destination_id] += change

    @contextlib.contextmanager
    def leaving(self, held: Delivery) -> Iterator[None]:
        """Count one worker less afterwards."""
        try:
            yield
        finally:
            with self._lock:
                self._count(held, -1)

    def ended_well(self, held: Delivery) -> None:
        """Note that the destination's store is as quick as any."""
        with self._lock:
            self._slow.discard(held.destination_id)

    def failed(self, held: Delivery, cause: Cause) -> None:
        """Note that the destination is slow, if its store held its worker for long."""
        if cause.code in _SLOW_CODES:
            with self._lock:
                self._slow.add(held.destination_id)

    def _passing_over(self) -> list[int]:
        with self._lock:
            full = {of for of, n in self._counts.items() if n >= self._per_destination}
            if sum(self._counts[of] for of in self._slow) >= self._slow_max:
                full |= self._slow
            return sorted(full)
