"""Late reads are ended, and nothing else is."""

from __future__ import annotations

import asyncio

import pytest

from tailrace.collect.patience import Late, Patience


async def never() -> None:
    await asyncio.Event().wait()


def test_a_late_read_is_ended_and_its_task_goes_on() -> None:
    async def main() -> str:
        patience = Patience(0.01)
        now = asyncio.get_running_loop().time()
        with pytest.raises(Late):
            await patience.wait(never, now + 0.01)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0)

        async def ready() -> str:
            return "read"

        return await patience.wait(ready, now)

    assert asyncio.run(main()) == "read"


def test_a_cancelled_task_is_cancelled_and_not_late() -> None:
    async def main() -> None:
        patience = Patience(10)
        deadline = asyncio.get_running_loop().time() + 10
        reading = asyncio.create_task(patience.wait(never, deadline))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    asyncio.run(main())


def test_only_the_late_one_of_many_reads_is_ended() -> None:
    async def main() -> None:
        patience = Patience(0.01)
        now = asyncio.get_running_loop().time()
        came = asyncio.Event()

        async def read() -> str:
            await came.wait()
            return "read"

        patient = [asyncio.create_task(patience.wait(read, now + 60)) for _ in range(5)]
        with pytest.raises(Late):
            await patience.wait(never, now)
        came.set()
        assert await asyncio.gather(*patient) == ["read"] * 5

    asyncio.run(main())
