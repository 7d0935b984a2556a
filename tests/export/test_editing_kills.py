"""Commands that are killed while an exporter runs beside them lose and double nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tailrace.clock import SystemClock
from tailrace.hours import Hour
from tailrace.state.delivery import OWED_STATES
from tests.export.editing import keys_of, seal
from tests.export.editing import new_bucket as new_bucket
from tests.export.editing import objects as objects

if TYPE_CHECKING:
    pass


CHILD = Path(__file__).with_name("editing_child.py")
SLOW = pytest.mark.slow(reason="processes are started, killed, and started again")


class Beside:
    """An exporter that runs in threads while commands run in processes of their own."""

    def __init__(self, world: Any) -> None:
        self._world = world
        world.clock = SystemClock()
        self._exporter = world.exporter()
        self._exporter.start()
        self._number = 0

    def seal_next(self) -> Hour:
        """Seal one more hour of today."""
        hour = Hour.of_micros(self._world.clock.now_micros()).day_start().plus(self._number)
        self._number += 1
        return seal(self._world, hour)

    def command(self, verb: str, number: int, bucket: str, kill_at: str = "") -> int:
        """Run a command; return its exit code, negative if it was killed."""
        database = str(self._world.engine.url.database)
        done = subprocess.run(
            [sys.executable, str(CHILD), database, str(number), verb, bucket],
            env=os.environ | {"TAILRACE_KILL_AT": kill_at},
            capture_output=True,
            check=False,
            text=True,
            timeout=90,
        )
        assert done.returncode in {0, -signal.SIGKILL}, done.stderr
        return done.returncode

    def wait_until_nothing_is_owed(self) -> None:
        """Wait for the exporter."""
        until = time.monotonic() + 60
        while self._world.ledger.runs(states=OWED_STATES):
            assert time.monotonic() < until, self._world.ledger.runs()
            threading.Event().wait(0.05)

    def stop(self) -> None:
        """Stop the exporter."""
        assert self._exporter.stop()


@pytest.fixture
def beside(world: Any) -> Iterator[Beside]:
    made = Beside(world)
    yield made
    made.stop()


@SLOW
@pytest.mark.parametrize("point", ["destination.held", "destination.before_commit"])
def test_an_edit_that_is_killed_beside_an_exporter_loses_and_doubles_nothing(
    world: Any, bucket: str, new_bucket: str, beside: Beside, objects: Any, point: str
) -> None:
    added = world.add_destination(bucket)
    hours = [beside.seal_next() for _ in range(4)]
    assert beside.command("edit", added.id, new_bucket, kill_at=point) == -signal.SIGKILL
    assert world.destinations.get(added.id).bucket == bucket
    hours += [beside.seal_next() for _ in range(4)]
    assert beside.command("edit", added.id, new_bucket) == 0
    hours += [beside.seal_next() for _ in range(4)]
    beside.wait_until_nothing_is_owed()

    there = [set(objects(bucket)), set(objects(new_bucket))]
    for hour in hours:
        marker = keys_of(world, hour)[1]
        complete = [keys for keys in there if marker in keys]
        assert len(complete) == 1, f"{hour} is complete in {len(complete)} buckets"
        assert set(keys_of(world, hour)) <= complete[0]
    assert not any("access-check" in key for keys in there for key in keys)
    assert len([key for key in there[1] if key.endswith("_complete")]) >= 4


@SLOW
@pytest.mark.parametrize("point", ["destination.held", "destination.before_commit"])
def test_a_deletion_that_is_killed_beside_an_exporter_is_whole_or_not_at_all(
    world: Any, bucket: str, beside: Beside, objects: Any, point: str
) -> None:
    added = world.add_destination(bucket)
    hours = [beside.seal_next() for _ in range(4)]
    assert beside.command("delete", added.id, "-", kill_at=point) == -signal.SIGKILL
    assert world.destinations.get(added.id).state == "active"
    hours.append(beside.seal_next())
    assert beside.command("delete", added.id, "-") == 0
    beside.seal_next()
    beside.wait_until_nothing_is_owed()

    runs = {run.hour: run.state for run in world.ledger.runs()}
    assert set(runs) == set(hours), "the hour after the deletion is not owed"
    for hour, state in runs.items():
        marked = keys_of(world, hour)[1] in objects(bucket)
        assert (state == "success") == marked, hour


@SLOW
def test_pauses_that_are_killed_beside_an_exporter_lose_nothing(
    world: Any, bucket: str, beside: Beside, objects: Any
) -> None:
    added = world.add_destination(bucket)
    point = "destination.before_commit"
    hours = []
    for verb, state in (("pause", "active"), ("resume", "paused")):
        hours += [beside.seal_next() for _ in range(3)]
        assert beside.command(verb, added.id, "-", kill_at=point) == -signal.SIGKILL
        assert world.destinations.get(added.id).state == state
        assert beside.command(verb, added.id, "-") == 0
    hours += [beside.seal_next() for _ in range(3)]
    beside.wait_until_nothing_is_owed()
    assert objects(bucket) == sorted(key for hour in hours for key in keys_of(world, hour))
