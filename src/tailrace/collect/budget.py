"""The bytes in flight of one process: taken as a request grows, given back when it is answered.

A share that finds nothing free waits before it reads on. Bytes that have been received are always
taken, so the sum may pass the limit by one read for each reader let through.

The oldest share that holds bytes never waits. Otherwise many large bodies could fill the budget
with their first halves, and none of them would ever be complete; this way the sum passes the limit
by one body.

A part is kept for bodies that say that they are small: a dozen clients that stop in the middle of
large ones would else hold up everybody.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType

from tailrace.errors import Transient

# What SDKs send: some ten events at a time. Such bodies alone may use the last eighth.
SMALL_BYTES_MAX = 65_536
_SMALL_SHARE = 8


class BudgetFull(Transient):
    """No bytes became free in time, or one API key holds its half."""


class Budget:
    """Share `bytes_max` among requests, first come first served; one key gets half at most."""

    def __init__(self, bytes_max: int, wait_seconds: float) -> None:
        self.bytes_max = bytes_max
        self.large_bytes_max = bytes_max - bytes_max // _SMALL_SHARE
        self.key_bytes_max = bytes_max // 2
        self.wait_seconds = wait_seconds
        self.bytes_used = 0
        self._by_key: dict[str, int] = {}
        self._small: _Queue = deque()
        self._large: _Queue = deque()
        # In the order in which they took their first bytes.
        self._holding: dict[Share, None] = {}

    @property
    def waiting(self) -> int:
        """The number of requests that wait for room."""
        return len(self._small) + len(self._large)

    @property
    def is_full(self) -> bool:
        """Whether somebody who asks for bytes has to wait, or waits already."""
        return self.bytes_used >= self.large_bytes_max or self.waiting > 0

    def share(self) -> Share:
        """Return an empty share; use it as a context manager, which gives all back."""
        return Share(self)

    async def room(self, share: Share, deadline: float) -> None:
        """Return once bytes are free for a share; raise `BudgetFull` at `deadline` (loop time)."""
        queue = self._small if share.is_small else self._large
        while (not self._is_free(share) or queue) and not self.is_oldest(share):
            turn = asyncio.get_running_loop().create_future()
            entry = (turn, share)
            queue.append(entry)
            try:
                async with asyncio.timeout_at(deadline):
                    await turn
            except TimeoutError as error:
                raise BudgetFull("Too many bytes are in flight; try again later.") from error
            finally:
                if entry in queue:
                    queue.remove(entry)
                # The next one is let in after this one has taken what it reads at once.
                asyncio.get_running_loop().call_soon(self._let_in)
            if self._is_free(share):
                return

    def has_room(self, share: Share) -> bool:
        """Return whether a share may read on at once: bytes are free, and nobody waits for any."""
        return self._is_free(share) and not self._small and (share.is_small or not self._large)

    def _is_free(self, share: Share) -> bool:
        return self.bytes_used < (self.bytes_max if share.is_small else self.large_bytes_max)

    def is_oldest(self, share: Share) -> bool:
        """Return whether no share took its first bytes before this one did."""
        return next(iter(self._holding), None) is share

    def _let_in(self) -> None:
        if self.bytes_used >= self.large_bytes_max:
            self._let_oldest_in()
        for queue in (self._small, self._large):
            while queue and self._is_free(queue[0][1]):
                turn, _ = queue.popleft()
                if not turn.done():
                    turn.set_result(None)
                    return

    def _let_oldest_in(self) -> None:
        for queue in (self._small, self._large):
            for entry in queue:
                turn, share = entry
                if self.is_oldest(share):
                    queue.remove(entry)
                    if not turn.done():
                        turn.set_result(None)
                    return

    def _add(self, count: int) -> None:
        self.bytes_used += count
        if count < 0 and self.waiting:
            self._let_in()

    def _hold(self, share: Share, *, bytes_held: int) -> None:
        if bytes_held:
            self._holding.setdefault(share)
        else:
            self._holding.pop(share, None)

    def _add_to_key(self, api_key: str, count: int) -> None:
        held = self._by_key.get(api_key, 0) + count
        if held:
            self._by_key[api_key] = held
        else:
            self._by_key.pop(api_key, None)

    def held_by(self, api_key: str) -> int:
        """Return the bytes that a key's requests hold now."""
        return self._by_key.get(api_key, 0)


_Queue = deque[tuple[asyncio.Future[None], "Share"]]


class Share:
    """The bytes of one request."""

    def __init__(self, budget: Budget) -> None:
        self.bytes = 0
        self._says_small = False
        self._budget = budget
        self._api_key: str | None = None
        self._deadline: float | None = None

    @property
    def is_small(self) -> bool:
        """Whether this is a body that said so, and has kept to it until now."""
        return self._says_small and self.bytes <= SMALL_BYTES_MAX

    def will_take(self, count: int) -> None:
        """Note how many bytes the client says that it sends."""
        self._says_small = count <= SMALL_BYTES_MAX

    async def room(self) -> None:
        """Wait until there is room to read on; all waits of a request together are limited."""
        budget = self._budget
        if budget.has_room(self) or budget.is_oldest(self):
            return
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + budget.wait_seconds
        await budget.room(self, self._deadline)

    def take(self, count: int) -> None:
        """Count bytes that this request has received (or, negative, has let go)."""
        self._budget._hold(self, bytes_held=self.bytes + count)
        self.bytes += count
        self._budget._add(count)
        if self._api_key is not None:
            self._budget._add_to_key(self._api_key, count)

    def belongs_to(self, api_key: str) -> None:
        """Count this share for a key; raise `BudgetFull` if the key would hold over half.

        The key is inside the body, so it is known only when the body is read and decoded. From
        then to the answer, the time that a slow disk makes long, the key's half is enforced; the
        request that passes it is refused at once and does not hold its bytes while waiting.
        """
        budget = self._budget
        if budget.held_by(api_key) + self.bytes > budget.key_bytes_max:
            raise BudgetFull("This API key has too many bytes in flight; try again later.")
        self._api_key = api_key
        budget._add_to_key(api_key, self.bytes)

    def give_back(self) -> None:
        """Count nothing for this share any more."""
        self.take(-self.bytes)
        self._api_key = None

    def __enter__(self) -> Share:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.give_back()
