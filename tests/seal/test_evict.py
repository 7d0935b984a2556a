from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tailrace.archive.folder import DAYS_HELD_MAX
from tailrace.hours import Hour
from tailrace.seal import evict
from tailrace.seal.disk import DiskLevel
from tailrace.seal.evict import FILES_PER_STEP, Evictor
from tailrace.settings import ArchiveSettings
from tailrace.state.sealed import SealedFile

if TYPE_CHECKING:
    from tests.seal.conftest import World

HOUR = Hour.parse("2026-11-23T13")


class Delivered:
    """A ledger's word on which files may go."""

    def __init__(self, world: World, hours: list[Hour]) -> None:
        self.files = [world.sealed(world.project, hour).files[0] for hour in hours]
        self.owed_meanwhile: set[Hour] = set()
        self.marked: list[Hour] = []

    def removable_files(self, limit: int, after: SealedFile | None = None) -> list[SealedFile]:
        start = 0 if after is None else self.files.index(after) + 1
        return [file for file in self.files[start:] if file.hour not in self.marked][:limit]

    def mark_removed(self, file: SealedFile) -> bool:
        if file.hour in self.owed_meanwhile:
            return False
        self.marked.append(file.hour)
        return True


def fill(world: World, hours: int) -> list[Hour]:
    made = [HOUR.plus(offset) for offset in range(hours)]
    for hour in made:
        world.commit(hour, {world.project: [[str(hour)]]})
    world.seal(made[-1])
    world.clock.advance(hours * 3_600_000_000)
    return made


def pass_day(world: World) -> None:
    world.clock.advance(24 * 3_600_000_000)


def kept(world: World, hours: list[Hour]) -> list[Hour]:
    def path_exists(hour: Hour) -> bool:
        file = world.sealed(world.project, hour).files[0]
        return world.archive.file_path(file.scope, hour, file.name).exists()

    return [hour for hour in hours if path_exists(hour)]


def test_nothing_goes_unless_it_is_asked_for(world: World) -> None:
    hours = fill(world, 3)
    ledger = Delivered(world, hours)
    plain = Evictor(world.archive, ledger, world.clock, ArchiveSettings())
    roomy = Evictor(world.archive, ledger, world.clock, ArchiveSettings(evict=True))
    assert plain.step(DiskLevel.THIRD) == 0
    assert roomy.step(DiskLevel.FREE) == 0
    assert kept(world, hours) == hours


def test_delivered_files_go_under_the_first_reserve(world: World) -> None:
    hours = fill(world, 3)
    pass_day(world)
    ledger = Delivered(world, hours[:2])
    evictor = Evictor(world.archive, ledger, world.clock, ArchiveSettings(evict=True))
    assert evictor.step(DiskLevel.FIRST) == 2
    assert kept(world, hours) == hours[2:]
    assert evictor.step(DiskLevel.FIRST) == 0


def test_files_of_today_stay_for_destinations_that_begin_today(world: World) -> None:
    hours = fill(world, 13)
    evictor = Evictor(
        world.archive, Delivered(world, hours), world.clock, ArchiveSettings(evict=True)
    )
    midnight = HOUR.next().day_start().plus(24)
    assert evictor.step(DiskLevel.SECOND) == midnight.number - HOUR.number
    assert kept(world, hours) == [hour for hour in hours if hour >= midnight]


def test_a_file_that_is_owed_again_stays(world: World) -> None:
    hours = fill(world, 3)
    pass_day(world)
    ledger = Delivered(world, hours)
    ledger.owed_meanwhile = {hours[0]}
    evictor = Evictor(world.archive, ledger, world.clock, ArchiveSettings(evict=True))
    assert evictor.step(DiskLevel.SECOND) == 2
    assert kept(world, hours) == hours[:1]


def test_old_files_go_after_the_days_they_are_kept(world: World) -> None:
    hours = fill(world, 30)
    ledger = Delivered(world, hours)
    evictor = Evictor(world.archive, ledger, world.clock, ArchiveSettings(keep_days=1))
    assert evictor.step(DiskLevel.FREE) == 6
    assert kept(world, hours) == hours[6:]
    world.clock.advance(3_600_000_000)
    assert evictor.step(DiskLevel.FREE) == 1
    assert kept(world, hours) == hours[7:]


def test_a_step_drops_a_limited_number(world: World) -> None:
    hours = fill(world, FILES_PER_STEP + 5)
    pass_day(world)
    ledger = Delivered(world, hours)
    evictor = Evictor(world.archive, ledger, world.clock, ArchiveSettings(evict=True))
    assert evictor.step(DiskLevel.FIRST) == FILES_PER_STEP
    assert evictor.step(DiskLevel.FIRST) == 5


def test_a_file_that_an_export_reads_stays_until_the_export_has_ended(world: World) -> None:
    hours = fill(world, 13)
    pass_day(world)
    ledger = Delivered(world, hours)
    evictor = Evictor(world.archive, ledger, world.clock, ArchiveSettings(evict=True))
    hold = world.archive.hold_days(world.project, [HOUR.date])
    today = [hour for hour in hours if hour.date == HOUR.date]
    assert evictor.step(DiskLevel.FIRST) == len(hours) - len(today)
    assert kept(world, hours) == today
    assert evictor.step(DiskLevel.FIRST) == 0
    hold.release()
    assert evictor.step(DiskLevel.FIRST) == len(today)
    assert kept(world, hours) == []


def test_files_behind_many_that_an_export_reads_go(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evict, "FILES_PER_STEP", 3)
    hours = fill(world, 13)
    pass_day(world)
    ledger = Delivered(world, hours)
    evictor = Evictor(world.archive, ledger, world.clock, ArchiveSettings(evict=True))
    hold = world.archive.hold_days(world.project, [HOUR.date])
    while evictor.step(DiskLevel.FIRST):
        pass
    hold.release()
    assert kept(world, hours) == [hour for hour in hours if hour.date == HOUR.date]
    assert evictor.step(DiskLevel.FIRST) == 3


def test_a_long_range_is_held_as_a_whole(world: World) -> None:
    hours = fill(world, 13)
    pass_day(world)
    ledger = Delivered(world, hours)
    evictor = Evictor(world.archive, ledger, world.clock, ArchiveSettings(evict=True))
    days = [HOUR.plus(24 * day).date for day in range(DAYS_HELD_MAX + 1)]
    hold = world.archive.hold_days(world.project, days)
    assert evictor.step(DiskLevel.FIRST) == 0
    hold.release()
    assert evictor.step(DiskLevel.FIRST) == 13


def test_the_ledger_itself_lets_nothing_go_that_nobody_was_given(world: World) -> None:
    hours = fill(world, 2)
    pass_day(world)
    evictor = Evictor(world.archive, world.ledger, world.clock, ArchiveSettings(evict=True))
    assert evictor.step(DiskLevel.FIRST) == 0
    assert kept(world, hours) == hours
