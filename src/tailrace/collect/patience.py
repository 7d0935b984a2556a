"""End reads that take too long, with one timer for all of them.

A timer for each read costs more than the read of a small body does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

Result = TypeVar("Result")

# A late read is found within this part of the shortest limit.
_LOOKS_PER_LIMIT = 4


class Late(Exception):
    """The read was not done in time."""


class Patience:
    """Watch the reads of one loop; `shortest_seconds` is the shortest limit that is used."""

    def __init__(self, shortest_seconds: float) -> None:
        self._look_seconds = min(1.0, shortest_seconds / _LOOKS_PER_LIMIT)
        self._deadlines: dict[asyncio.Task[object], float] = {}
        self._late: set[asyncio.Task[object]] = set()
        self._looking = False

    async def wait(self, read: Callable[[], Awaitable[Result]], deadline: float) -> Result:
        """Return what `read` returns; raise `Late` if it isn't there soon after `deadline`.

        A task waits for one read at a time. It is suspended nowhere but in `read` while it is
        watched, so the cancellation by which a late one is ended is always caught here.
        """
        task = asyncio.current_task()
        assert task is not None
        self._deadlines[task] = deadline
        if not self._looking:
            self._looking = True
            asyncio.get_running_loop().call_later(self._look_seconds, self._look)
        try:
            return await read()
        except asyncio.CancelledError:
            if task not in self._late:
                raise
            task.uncancel()
            raise Late from None
        finally:
            del self._deadlines[task]
            self._late.discard(task)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for task, deadline in self._deadlines.items():
            if deadline <= now and task not in self._late:
                self._late.add(task)
                task.cancel()
        self._looking = bool(self._deadlines)
        if self._looking:
            loop.call_later(self._look_seconds, self._look)
