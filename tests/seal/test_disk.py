from __future__ import annotations

from pathlib import Path

import pytest

from tailrace.clock import SteppedClock
from tailrace.files import Files
from tailrace.seal.disk import (
    DiskGuard,
    DiskLevel,
    Reserve,
    appends_allowed,
    checkpoints_allowed,
    eviction_wanted,
    sealing_allowed,
    ticks_allowed,
)
from tailrace.settings import DiskSettings

GB = 10**9


class Disk(Files):
    def __init__(self, *, total: int, free: int) -> None:
        super().__init__()
        self.total = total
        self.free = free
        self.looks = 0

    def free_bytes(self, path: Path) -> int:
        self.looks += 1
        return self.free

    def total_bytes(self, path: Path) -> int:
        return self.total


def guard(disk: Files, clock: SteppedClock) -> DiskGuard:
    return DiskGuard.of_settings(disk, Path("/"), clock, DiskSettings())


@pytest.mark.parametrize(
    ("total", "free", "level"),
    [
        (1000 * GB, 10 * GB, DiskLevel.FREE),
        (1000 * GB, 10 * GB - 1, DiskLevel.FIRST),
        (1000 * GB, 4 * GB - 1, DiskLevel.SECOND),
        (1000 * GB, 1 * GB - 1, DiskLevel.THIRD),
        (50 * GB, 5 * GB, DiskLevel.FREE),
        (50 * GB, 5 * GB - 1, DiskLevel.FIRST),
        (50 * GB, 2 * GB - 1, DiskLevel.SECOND),
        (50 * GB, GB // 2 - 1, DiskLevel.THIRD),
        (50 * GB, 0, DiskLevel.THIRD),
    ],
)
def test_the_smaller_of_percentage_and_bytes_is_reserved(
    total: int, free: int, level: DiskLevel
) -> None:
    assert guard(Disk(total=total, free=free), SteppedClock(0)).level() is level


def test_a_look_serves_for_a_second() -> None:
    disk, clock = Disk(total=100 * GB, free=50 * GB), SteppedClock(0)
    watched = guard(disk, clock)
    assert watched.level() is DiskLevel.FREE
    disk.free = 0
    clock.advance(999_999)
    assert watched.level() is DiskLevel.FREE
    clock.advance(1)
    assert watched.level() is DiskLevel.THIRD
    clock.step(-3_600_000_000)
    disk.free = 50 * GB
    clock.advance(1_000_000)
    assert watched.level() is DiskLevel.FREE
    assert disk.looks == 3


def test_each_level_forbids_what_the_one_before_did_and_more() -> None:
    levels = (DiskLevel.FREE, DiskLevel.FIRST, DiskLevel.SECOND, DiskLevel.THIRD)
    assert [eviction_wanted(level) for level in levels] == [False, True, True, True]
    assert [appends_allowed(level) for level in levels] == [True, True, False, False]
    for allowed in (ticks_allowed, checkpoints_allowed, sealing_allowed):
        assert [allowed(level) for level in levels] == [True, True, True, False]


def test_the_real_file_system_answers(tmp_path: Path) -> None:
    nothing = Reserve(0, 0)
    watched = DiskGuard(Files(), tmp_path, SteppedClock(0), (nothing, nothing, nothing))
    assert watched.level() is DiskLevel.FREE
