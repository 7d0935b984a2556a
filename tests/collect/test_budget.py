"""Bytes in flight: who waits, who is let in, what is given back."""

from __future__ import annotations

import asyncio

import pytest

from tailrace.collect.budget import Budget, BudgetFull


def test_a_share_waits_while_nothing_is_free_and_goes_on_in_order() -> None:
    async def main() -> list[int]:
        budget = Budget(100, wait_seconds=10)
        order: list[int] = []
        holding = budget.share()
        holding.take(100)

        async def reader(number: int) -> None:
            with budget.share() as share:
                await share.room()
                share.take(100)
                order.append(number)
                await asyncio.sleep(0)

        readers = [asyncio.create_task(reader(number)) for number in range(5)]
        await asyncio.sleep(0)
        assert (order, budget.waiting) == ([], 5)
        holding.take(-100)
        await asyncio.gather(*readers)
        assert budget.bytes_used == 0
        return order

    assert asyncio.run(main()) == [0, 1, 2, 3, 4]


def test_one_freed_place_does_not_let_everybody_in() -> None:
    async def main() -> None:
        budget = Budget(100, wait_seconds=10)
        holding = budget.share()
        holding.take(100)
        let_in: list[int] = []
        forever = asyncio.Event()

        async def reader(number: int) -> None:
            with budget.share() as share:
                await share.room()
                share.take(100)
                let_in.append(number)
                await forever.wait()

        readers = [asyncio.create_task(reader(number)) for number in range(5)]
        await asyncio.sleep(0)
        holding.take(-100)
        for _ in range(20):
            await asyncio.sleep(0)
        assert (let_in, budget.waiting) == ([0], 4)
        forever.set()
        await asyncio.gather(*readers)

    asyncio.run(main())


def test_bodies_that_fill_the_budget_with_their_beginnings_are_completed_one_by_one() -> None:
    async def main() -> list[int]:
        budget = Budget(100, wait_seconds=10)
        complete: list[int] = []
        highest = 0

        async def reader(number: int) -> None:
            nonlocal highest
            with budget.share() as share:
                for _ in range(5):
                    await share.room()
                    share.take(10)
                    highest = max(highest, budget.bytes_used)
                    await asyncio.sleep(0)
                complete.append(number)

        async with asyncio.timeout(5):
            await asyncio.gather(*(reader(number) for number in range(20)))
        assert (budget.bytes_used, budget.waiting) == (0, 0)
        # The limit, what the readers let in by it had in hand, and the oldest one's body.
        assert highest <= 100 + 50
        return complete

    assert sorted(asyncio.run(main())) == list(range(20))


def test_a_share_that_waits_too_long_is_refused_and_leaves_the_queue() -> None:
    async def main() -> None:
        budget = Budget(10, wait_seconds=0.01)
        budget.share().take(10)
        with budget.share() as share:
            share.take(5)
            with pytest.raises(BudgetFull):
                await share.room()
        assert (budget.waiting, budget.bytes_used) == (0, 10)

    asyncio.run(main())


def test_a_cancelled_share_passes_its_turn_on() -> None:
    async def main() -> None:
        budget = Budget(10, wait_seconds=10)
        holding = budget.share()
        holding.take(10)
        first = asyncio.create_task(budget.share().room())
        second = asyncio.create_task(budget.share().room())
        await asyncio.sleep(0)
        holding.take(-10)
        first.cancel()
        await second
        assert first.cancelled() or first.done()

    asyncio.run(main())


def test_a_key_over_its_half_is_refused_until_it_gave_back() -> None:
    budget = Budget(100, wait_seconds=10)
    with budget.share() as first, budget.share() as second:
        first.take(40)
        first.belongs_to("a")
        second.take(11)
        with pytest.raises(BudgetFull):
            second.belongs_to("a")
        second.belongs_to("b")
        assert (budget.held_by("a"), budget.held_by("b")) == (40, 11)
    assert (budget.held_by("a"), budget.bytes_used) == (0, 0)
    with budget.share() as third:
        third.take(50)
        third.belongs_to("a")


def test_large_bodies_that_stall_hold_up_no_small_one() -> None:
    async def main() -> None:
        budget = Budget(800_000, wait_seconds=10)
        stalled = budget.share()
        # The oldest never waits, so it is another one that does.
        stalled.take(1)
        hogs = [budget.share() for _ in range(7)]
        for hog in hogs:
            await hog.room()
            hog.take(100_000)
        large, small = budget.share(), budget.share()
        large.will_take(65_537)
        small.will_take(65_536)
        waiting = asyncio.create_task(large.room())
        await asyncio.sleep(0)
        assert budget.waiting == 1

        async with asyncio.timeout(5):
            await small.room()
        small.take(65_536)
        assert not waiting.done()

        hogs[0].take(-100_000)
        async with asyncio.timeout(5):
            await waiting

    asyncio.run(main())


def test_a_small_body_that_grows_large_has_no_place_kept() -> None:
    async def main() -> None:
        budget = Budget(800_000, wait_seconds=0.01)
        budget.share().take(700_000)
        bomb = budget.share()
        bomb.will_take(100)
        await bomb.room()
        bomb.take(65_537)
        with pytest.raises(BudgetFull):
            await bomb.room()

    asyncio.run(main())
