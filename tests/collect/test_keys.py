"""Keys are renewed in time, and unknown ones make few looks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tailrace.collect.keys import STALE_SECONDS, Keys, KeysUnread


class Owner:
    organization = 1
    project = 2


class Source:
    def __init__(self) -> None:
        self.keys: dict[str, Owner] = {"old": Owner()}
        self.views: set[str] = set()
        self.number = 1
        self.looks = 0
        self.loads = 0
        self.broken = False

    def version(self) -> int:
        self.looks += 1
        if self.broken:
            raise OSError("locked")
        return self.number

    def load(self) -> dict[str, Owner]:
        self.loads += 1
        return dict(self.keys)

    def portfolios(self) -> frozenset[str]:
        return frozenset(self.views)


class Bench:
    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []
        self.source = Source()
        self.keys = Keys(self.source, steady_seconds=lambda: self.now, pause=self.pause)

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


def run(scenario: Callable[[Bench], Awaitable[Any]]) -> Bench:
    async def main() -> Bench:
        bench = Bench()
        try:
            await scenario(bench)
        finally:
            bench.keys.close()
        return bench

    return asyncio.run(main())


def test_nothing_is_known_before_the_first_look() -> None:
    async def scenario(bench: Bench) -> None:
        assert not bench.keys.readable
        with pytest.raises(KeysUnread):
            await bench.keys.owner("old")
        await bench.keys.refresh()
        assert await bench.keys.owner("old") is not None

    run(scenario)


def test_a_revoked_key_stops_at_the_next_look() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.keys.refresh()
        del bench.source.keys["old"]
        bench.source.number += 1
        await bench.keys.refresh()
        assert await bench.keys.owner("old") is None

    run(scenario)


def test_keys_are_loaded_only_when_the_version_changed() -> None:
    async def scenario(bench: Bench) -> None:
        for _ in range(5):
            await bench.keys.refresh()

    assert run(scenario).source.loads == 1


def test_keys_that_cannot_be_read_for_two_seconds_answer_nothing() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.keys.refresh()
        bench.source.broken = True
        with pytest.raises(KeysUnread):
            await bench.keys.refresh()
        bench.now = STALE_SECONDS
        assert await bench.keys.owner("old") is not None
        with pytest.raises(KeysUnread):
            await bench.keys.owner("new")
        bench.now = STALE_SECONDS + 0.01
        with pytest.raises(KeysUnread):
            await bench.keys.owner("old")
        bench.source.broken = False
        await bench.keys.refresh()
        assert await bench.keys.owner("old") is not None

    run(scenario)


def test_a_new_key_is_found_by_looking_once() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.keys.refresh()
        bench.source.keys["new"] = Owner()
        bench.source.number += 1
        assert await bench.keys.owner("new") is not None

    assert run(scenario).source.looks == 2


def test_a_new_portfolio_is_known_after_the_next_look() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.keys.refresh()
        assert not bench.keys.is_portfolio("300003")
        bench.source.views.add("300003")
        bench.source.number += 1
        assert await bench.keys.owner("300003") is None
        assert bench.keys.is_portfolio("300003")

    run(scenario)


def test_many_unknown_keys_share_one_look() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.keys.refresh()
        found = await asyncio.gather(*(bench.keys.owner(f"new-{n}") for n in range(100)))
        assert found == [None] * 100

    assert run(scenario).source.looks == 2


def test_unknown_keys_make_ten_looks_a_second_at_most() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.keys.refresh()
        for number in range(11):
            await bench.keys.owner(f"new-{number}")

    bench = run(scenario)

    assert bench.source.looks == 12
    assert bench.now == pytest.approx(1.0)


def test_a_revoked_key_stops_though_nobody_asks_for_a_look() -> None:
    async def main() -> None:
        source = Source()
        loop = asyncio.get_running_loop()
        keys = Keys(source, steady_seconds=loop.time)
        stop = asyncio.Event()
        running = asyncio.create_task(keys.run(stop))
        while not keys.readable:
            await asyncio.sleep(0)
        began = loop.time()
        del source.keys["old"]
        source.number += 1
        while keys.known("old") is not None:
            await asyncio.sleep(0.001)
        assert loop.time() - began < 2.0
        stop.set()
        await running
        keys.close()

    asyncio.run(main())
