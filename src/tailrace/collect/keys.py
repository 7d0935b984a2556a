"""Which project an API key writes to: a copy of the accounts' keys that is never 2 s old.

The accounts' calls read a database and block, so they run in a thread of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import structlog

from tailrace.errors import Transient

# A new key works and a revoked one stops within 2 s: four looks in that time.
REFRESH_SECONDS = 0.5
# Without a good look for this long the keys may be wrong: nothing is accepted, nothing refused.
STALE_SECONDS = 2.0
# Unknown keys make one look for all who wait, at most ten a second.
LOOK_AGAIN_SECONDS = 0.1

_log = structlog.get_logger(__name__)


class Owner(Protocol):
    """The project that a key belongs to, and its organization."""

    @property
    def organization(self) -> int: ...

    @property
    def project(self) -> int: ...


class KeySource(Protocol):
    """The accounts' keys. All calls may block; any exception means that they can't be read."""

    def version(self) -> int:
        """Return a number that changes whenever the others would return something else."""
        ...

    def load(self) -> Mapping[str, Owner]:
        """Return every valid API key with its owner."""
        ...

    def portfolios(self) -> Collection[str]:
        """Return the IDs of portfolio projects, which have no keys."""
        ...


class KeysUnread(Transient):
    """The keys can't be read now, so no key can be called invalid."""


class Keys:
    """The keys in memory, renewed by `run` and, for an unknown key, at once."""

    def __init__(
        self,
        source: KeySource,
        *,
        steady_seconds: Callable[[], float],
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._source = source
        self._steady_seconds = steady_seconds
        self._pause = pause
        self._owners: Mapping[str, Owner] = {}
        self._portfolios: Collection[str] = ()
        self._version: int | None = None
        self._good_until = float("-inf")
        self._looked_at = float("-inf")
        self._next_look: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="keys")

    @property
    def readable(self) -> bool:
        """Whether the copy is fresh enough to answer by."""
        return self._steady_seconds() <= self._good_until

    def known(self, api_key: str) -> Owner | None:
        """Return the owner if the copy holds the key; raise `KeysUnread` for a stale copy."""
        if self._steady_seconds() > self._good_until:
            raise KeysUnread("The API keys can't be read; try again later.")
        return self._owners.get(api_key)

    def is_portfolio(self, api_key: str) -> bool:
        """Tell whether what was sent as a key is the ID of a portfolio project."""
        return api_key in self._portfolios

    async def owner(self, api_key: str) -> Owner | None:
        """Return the key's owner, or None after a look that began after this call."""
        found = self.known(api_key)
        if found is not None:
            return found
        if self._next_look is None:
            self._next_look = asyncio.get_running_loop().create_task(self._look_again())
        await asyncio.shield(self._next_look)
        return self.known(api_key)

    async def refresh(self) -> None:
        """Look at the version and load what changed; raise `KeysUnread` if that fails."""
        async with self._one_at_a_time:
            began = self._steady_seconds()
            loop = asyncio.get_running_loop()
            try:
                version = await loop.run_in_executor(self._thread, self._source.version)
                if version != self._version:
                    owners = await loop.run_in_executor(self._thread, self._source.load)
                    portfolios = await loop.run_in_executor(self._thread, self._source.portfolios)
                    self._owners, self._portfolios = owners, portfolios
                    self._version = version
            except Exception as error:
                raise KeysUnread("The API keys can't be read; try again later.") from error
            self._good_until = began + STALE_SECONDS

    async def run(self, stop: asyncio.Event) -> None:
        """Refresh until `stop`; a failed look is logged once for each outage."""
        failing = False
        while not stop.is_set():
            try:
                await self.refresh()
                failing = False
            except KeysUnread as error:
                if not failing:
                    _log.error("keys_unreadable", cause=repr(error.__cause__))
                failing = True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), REFRESH_SECONDS)

    async def _look_again(self) -> None:
        wait_seconds = self._looked_at + LOOK_AGAIN_SECONDS - self._steady_seconds()
        if wait_seconds > 0:
            await self._pause(wait_seconds)
        # Whoever asks from here on needs a look that begins after they asked.
        self._next_look = None
        self._looked_at = self._steady_seconds()
        await self.refresh()

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)
