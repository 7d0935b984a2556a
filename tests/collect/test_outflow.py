"""How long a client may take for what it is sent; time is passed to the loop, nobody waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import pytest

from tailrace.collect.outflow import BEGIN_SECONDS, CUT, Outflow, TooSlow, pour

PIECE = b"x" * 1000
PIECES = 5


class SteppedLoop(asyncio.SelectorEventLoop):
    """A loop whose time goes ahead when told."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


class Body:
    """Some pieces, each of which takes the disk so many seconds."""

    def __init__(self, loop: SteppedLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._left = PIECES
        self.closed = 0

    async def next(self) -> bytes:
        self._loop.ahead += self._seconds
        self._left -= 1
        return PIECE if self._left >= 0 else b""

    def close(self) -> None:
        self.closed += 1


class Client:
    """Whoever is sent the messages, and takes so many seconds for each piece."""

    def __init__(self, loop: SteppedLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self.received: list[MutableMapping[str, Any]] = []

    async def take(self, message: MutableMapping[str, Any]) -> None:
        if message.get("body"):
            self._loop.ahead += self._seconds
            # Whoever waits hears of a time that ran out in the next turn of the loop.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        self.received.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.received)


def run(work: Callable[[SteppedLoop], Awaitable[None]]) -> None:
    loop = SteppedLoop()
    try:
        loop.run_until_complete(work(loop))
    finally:
        loop.close()


def test_the_time_that_a_slow_disk_takes_is_not_the_clients() -> None:
    async def work(loop: SteppedLoop) -> None:
        body, client = Body(loop, 2 * BEGIN_SECONDS), Client(loop, 0)
        await pour(Outflow((), PIECES * len(PIECE), body), client.take)
        assert client.body == PIECES * PIECE
        assert CUT not in [message["type"] for message in client.received]
        assert body.closed == 1

    run(work)


def test_a_client_that_takes_too_long_is_cut_off_also_beside_a_slow_disk() -> None:
    async def work(loop: SteppedLoop) -> None:
        body, client = Body(loop, 2 * BEGIN_SECONDS), Client(loop, BEGIN_SECONDS / 3)
        with pytest.raises(TooSlow):
            await pour(Outflow((), PIECES * len(PIECE), body), client.take)
        assert 0 < len(client.body) < PIECES * len(PIECE)
        assert client.received[-1]["type"] == CUT
        assert body.closed == 1

    run(work)
