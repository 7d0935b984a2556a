"""SQLite's writes, syncs, cuts and new files fail once each, with ENOSPC and with EIO.

The short form takes some of the calls on each file once; `TAILRACE_LONG=1` takes every single one.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import story
from tests.faults.bucket import Bucket
from tests.faults.life import Life, shrink
from tests.faults.system_calls import Fault, Lives

LONG = os.environ.get("TAILRACE_LONG") == "1"
ERRORS = ("ENOSPC", "EIO")
# The short form fails these calls on each file, and every third of the others.
SHORT_ALWAYS = ("pwrite64",)
SHORT_EVERY = 3
# What a part may end with when a database's disk fails; anything else is no clear word.
CLEAR = (
    "disk I/O error",
    "database or disk is full",
    "unable to open database file",
    "attempt to write a readonly database",
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(36000 if LONG else 600)]
"""Each failure needs a process of its own."""


@pytest.fixture
def lives(memory: Path) -> Iterator[Lives]:
    if shutil.which("strace") is None:
        if os.environ.get("CI"):
            pytest.fail("strace is not installed; see scripts/debian-packages")
        pytest.skip("strace is not installed")
    made = Lives(memory)
    yield made
    made.close()


def chosen(counted: dict[tuple[str, str], int]) -> Iterator[Fault]:
    """Return the faults to make: one for each call and file, or all."""
    chance = random.Random(4)
    for number, ((call, file), times) in enumerate(sorted(counted.items())):
        if LONG:
            for at in range(1, times + 1):
                yield from (Fault(call, file, at, error) for error in ERRORS)
        elif number % SHORT_EVERY == 0 or call in SHORT_ALWAYS:
            yield Fault(call, file, chance.randint(1, times), ERRORS[number % 2])


def test_after_any_failed_call_of_the_databases_all_is_delivered_once(
    lives: Lives, memory: Path
) -> None:
    counted = lives.count()
    assert counted["pwrite64", "processing.sqlite-wal"] > 100
    missed = 0
    for number, fault in enumerate(chosen(counted)):
        name = f"life-{number}"
        check(lives, memory, name, fault)
        missed += "INJECTED" not in (memory / f"{name}.trace").read_text()
        for left in memory.glob(f"{name}*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    # A database that is opened once more or less now and then has some calls less.
    assert missed <= (number + 1) // 20


def check(lives: Lives, folder: Path, name: str, fault: Fault) -> None:
    """Live with the fault, heal, and prove what is in the bucket."""
    try:
        told, _ = lives.live(name, fault)
        for _, kind, message in told.failures:
            assert kind in {"ClockStepped", "PartitionRetired", "OSError"} or any(
                word in message for word in CLEAR
            ), message
        shrink()
        life = Life(folder / name, Bucket(folder / f"{name}.bucket"), told.now)
        life.answers, life.retired = told.answers, told.retired
        story.heal(life)
    except Exception as error:
        raise AssertionError(f"{fault}") from error
