"""Each of our writes fails once, with ENOSPC, with EIO and half-way; SQLite's are elsewhere.

The short form takes each call of each module once, with one kind of failure or another;
`TAILRACE_LONG=1` takes every single write with each kind.
"""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest

from tailrace.errors import TailraceError
from tests.faults import story
from tests.faults.bucket import Bucket
from tests.faults.failing import Failing, Site
from tests.faults.life import Life, shrink

LONG = os.environ.get("TAILRACE_LONG") == "1"
# The modules that write, also where their sizes in real life are too large for a short one.
WRITERS = {
    "archive/batch.py",
    "archive/folder.py",
    "folder.py",
    "log/end.py",
    "log/partitions.py",
    "log/recover.py",
    "log/retention.py",
    "log/segment.py",
    "log/stamping.py",
    "log/tail.py",
    "state/ages.py",
    "state/insertions.py",
    "state/secrets.py",
}
KINDS = {"no space": errno.ENOSPC, "broken": errno.EIO, "short": 0}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600 if LONG else 600)]
"""A life takes half a second, and each failure needs one of its own."""


def run(folder: Path, at: int, code: int) -> tuple[Failing, Life]:
    """Live with one failure, and heal."""
    shrink()
    life = Life(folder / "data", Bucket(folder / "bucket"))
    failing = Failing(folder / "data", at, code)
    with failing.at_work():
        story.begin(life)
        story.live(life)
    return failing, life


@pytest.fixture(scope="module")
def sites(memory: Path) -> list[Site]:
    """Every write of a life in which nothing fails."""
    failing, life = run(memory, 0, 0)
    assert {failure.part for failure in life.failures} == {"collector-1", "collector-2"}
    story.heal(life)
    assert {site.path for site in failing.sites} >= WRITERS
    return failing.sites


def chosen(sites: list[Site], kind: str) -> list[int]:
    """Return the numbers of the writes that fail, counted from 1."""
    if LONG:
        return [n for n, site in enumerate(sites, 1) if kind in kinds_of(site)]
    chance = random.Random(4)
    numbers = list(range(1, len(sites) + 1))
    chance.shuffle(numbers)
    places = {(sites[n - 1].call, sites[n - 1].path): n for n in numbers}
    picked: list[int] = []
    for turn, number in enumerate(n for _, n in sorted(places.items())):
        kinds = kinds_of(sites[number - 1])
        if kinds[turn % len(kinds)] == kind:
            picked.append(number)
    return picked


def kinds_of(site: Site) -> list[str]:
    """Return how a call can fail."""
    return [kind for kind in KINDS if kind != "short" or "write" in site.call]


@pytest.mark.parametrize("kind", KINDS)
def test_after_any_failed_write_all_that_was_acknowledged_is_delivered_once(
    kind: str, sites: list[Site], memory: Path
) -> None:
    fired = 0
    for at in chosen(sites, kind):
        folder = memory / f"{kind}-{at}"
        folder.mkdir()
        failing, life = run(folder, at, KINDS[kind])
        where = f"{kind} at write {at}: {failing.fired}"
        try:
            fired += failing.fired is not None
            assert not failing.synced_after_failure
            for failure in life.failures:
                assert isinstance(failure.error, TailraceError | OSError), failure
            story.heal(life)
        except (AssertionError, TailraceError, OSError) as error:
            raise AssertionError(where) from error
    # Threads may sync in another order, so a write near the end may not come.
    assert fired >= len(chosen(sites, kind)) - 1
