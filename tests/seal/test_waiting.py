from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tailrace.hours import Hour
from tailrace.seal import waiting as waiting_module
from tailrace.seal.waiting import Waiting
from tailrace.state import sealing

if TYPE_CHECKING:
    from tests.seal.conftest import World

HOUR = Hour.parse("2026-11-23T13")


def test_sums_grow_with_every_commit_until_they_make_a_file(world: World) -> None:
    waiting = Waiting(world.store, partition_bytes=150)
    world.commit(HOUR, {1: [["a" * 60]]})
    waiting.look()
    assert waiting.take_full() is None
    world.commit(HOUR, {1: [["b" * 60]], 2: [["x"]]})
    world.commit(HOUR, {1: [["c" * 60]]})
    waiting.look()
    assert waiting.take_full() == (1, HOUR.number)


def test_the_oldest_hour_comes_first(world: World) -> None:
    waiting = Waiting(world.store, partition_bytes=1)
    world.commit(HOUR.next(), {1: [["a"]]})
    world.commit(HOUR, {2: [["b"]], 3: [["c"]]})
    waiting.look()
    assert waiting.take_full() == (2, HOUR.number)


def test_chunks_that_went_do_not_count(world: World) -> None:
    connection = world.store.connection
    waiting = Waiting(world.store, partition_bytes=1)
    world.commit(HOUR, {1: [["a"]]})
    waiting.look()
    with world.store.transaction():
        connection.execute("DELETE FROM chunk")
    assert waiting.take_full() is None
    world.commit(HOUR, {1: [["b"]]})
    waiting.look()
    assert waiting.take_full() == (1, HOUR.number)


def test_what_is_forgotten_counts_again_from_there_on(world: World) -> None:
    waiting = Waiting(world.store, partition_bytes=1)
    world.commit(HOUR, {1: [["a"]]})
    waiting.look()
    waiting.forget_through(HOUR.number)
    assert waiting.take_full() is None
    waiting.look()
    assert waiting.take_full() is None
    world.commit(HOUR, {1: [["b"]]})
    waiting.look()
    assert waiting.take_full() == (1, HOUR.number)


def test_the_largest_are_kept_when_there_are_too_many(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_module, "KEYS_MAX", 4)
    connection = world.store.connection
    lines = [f"{number}" for number in range(60)]
    world.commit(HOUR, {project: [lines[: project * 10]] for project in range(1, 7)})
    waiting = Waiting(world.store, sealing.chunk_bytes(connection, 6, HOUR.number) + 1)
    waiting.look()
    world.commit(HOUR, {6: [["z"]]})
    waiting.look()
    assert waiting.take_full() == (6, HOUR.number)
