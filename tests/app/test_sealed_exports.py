"""What is found of a range of hours, at each step of an hour's way into the ledger."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tailrace.app.sealed_exports import SealedFiles
from tailrace.archive.folder import DAYS_HELD_MAX
from tailrace.collect.export_found import (
    Hours,
    Missing,
    NoData,
    NotClosed,
    NotKept,
    NotOver,
    TooMuch,
    Zip,
)
from tailrace.errors import Corrupt
from tailrace.files import Files
from tailrace.hours import Hour
from tailrace.log.end import End
from tailrace.log.partitions import mark_retired, register_partition
from tailrace.state import closing
from tailrace.state.processing_view import ProcessingView
from tests.seal.conftest import PARTITION, World

HOUR = World.hour
NEXT = HOUR.next()


@pytest.fixture
def world(tmp_path: Path, empty_database: bytes) -> Iterator[World]:
    (tmp_path / "tailrace.sqlite").write_bytes(empty_database)
    made = World(tmp_path)
    register_partition(tmp_path / "log", PARTITION, Files())
    yield made
    made.close()


def exports(world: World, *, bytes_max: int = 2**32, files_max: int = 100) -> SealedFiles:
    return SealedFiles(
        world.engine,
        ProcessingView(world.folder / "processing.sqlite"),
        world.folder / "log",
        world.archive,
        world.clock,
        bytes_max=bytes_max,
        files_max=files_max,
    )


def find(world: World, first: Hour = HOUR, last: Hour = HOUR) -> Zip | Missing:
    return exports(world).find(world.project, Hours(first, last))


def now(world: World, hour: Hour) -> None:
    """Let the clock show the hour, a quarter past."""
    world.clock.step(hour.start_micros + 900_000_000 - world.clock.now_micros())


def names(found: Zip | Missing) -> list[str]:
    """Return the members of a zip, and close it."""
    assert not isinstance(found, Missing), found
    data = b"".join(iter(found.read, b""))
    assert len(data) == found.length
    found.close()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return archive.namelist()


def is_held(world: World, hour: Hour = HOUR) -> bool:
    with world.archive.unless_held(world.project, hour) as alone:
        return not alone


def test_a_sealed_hour_is_a_zip_of_its_files(world: World) -> None:
    world.commit(HOUR, {world.project: [["a"], ["b"]]})
    world.seal(HOUR)
    now(world, NEXT)
    found = find(world)
    assert names(found) == [f"{world.project}/{world.project}_2026-11-23_13#1.json.gz"]


def test_a_service_that_has_processed_nothing_knows_of_no_empty_hour(world: World) -> None:
    now(world, NEXT)
    assert find(world) == NotClosed(Hours(HOUR, HOUR), HOUR, alarmed=False)


def test_an_hour_that_processing_has_not_left_is_not_closed(world: World) -> None:
    world.leave(HOUR.previous())
    now(world, NEXT)
    assert find(world) == NotClosed(Hours(HOUR, HOUR), HOUR, alarmed=False)
    asked = Hours(HOUR.previous(), HOUR)
    assert find(world, *_ends(asked)) == NotClosed(asked, HOUR, alarmed=False)
    past = Hours(HOUR.plus(-9), HOUR.previous())
    assert find(world, *_ends(past)) == NoData(past)


def test_an_hour_that_processing_has_left_is_not_closed_while_it_has_events(world: World) -> None:
    world.commit(HOUR, {world.project: [["a"]]})
    world.leave(HOUR)
    now(world, NEXT)
    assert find(world) == NotClosed(Hours(HOUR, HOUR), HOUR, alarmed=False)
    other = exports(world).find(world.project + 1, Hours(HOUR, HOUR))
    assert other == NoData(Hours(HOUR, HOUR))


def test_events_without_a_line_make_an_hour_that_is_empty_once_it_is_sealed(world: World) -> None:
    world.commit(HOUR, {world.project: []}, duplicates=3)
    world.leave(HOUR)
    now(world, NEXT)
    assert isinstance(find(world), NotClosed)
    world.seal(HOUR)
    assert find(world) == NoData(Hours(HOUR, HOUR))


def test_a_sealed_hour_that_the_ledger_does_not_know_is_not_closed(world: World) -> None:
    world.commit(HOUR, {world.project: [["a"]]})
    world.seal(HOUR)
    now(world, NEXT)
    with world.engine.begin() as connection:
        for table in ("sealed_file", "sealed_hour"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    with world.store.transaction() as connection:
        connection.execute("UPDATE sealed_hour SET handed_over = 0")
    assert isinstance(find(world), NotClosed)


def test_files_that_are_handed_over_early_are_no_whole_hour(world: World) -> None:
    world.commit(HOUR, {world.project: [["a"]]})
    world.seal(HOUR)
    now(world, NEXT)
    with world.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM sealed_hour")
    with world.store.transaction() as connection:
        connection.execute("UPDATE sealed_hour SET handed_over = 0")
    assert isinstance(find(world), NotClosed)
    asked = Hours(HOUR.previous(), HOUR)
    assert isinstance(find(world, *_ends(asked)), NotClosed)


def test_files_of_the_present_hour_that_are_handed_over_early_count_for_nothing(
    world: World,
) -> None:
    world.commit(NEXT, {world.project: [["a"]]})
    world.seal(NEXT)
    world.leave(HOUR)
    now(world, NEXT)
    with world.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM sealed_hour WHERE hour = ?", (NEXT.number,))
    asked = Hours(HOUR, NEXT)
    assert find(world, *_ends(asked)) == NotOver(asked, NEXT, 2700)
    found = exports(world, bytes_max=1).find(world.project, asked)
    assert isinstance(found, NotOver)


def test_a_collector_that_is_silent_keeps_hours_open(world: World) -> None:
    world.leave(HOUR)
    now(world, NEXT)
    assert find(world) == NoData(Hours(HOUR, HOUR))
    register_partition(world.folder / "log", 2, Files())
    assert isinstance(find(world), NotClosed)
    mark_retired(world.folder / "log", 2, End(0, 0), Files())
    assert find(world) == NoData(Hours(HOUR, HOUR))


def test_an_hour_that_can_not_be_sealed_is_said_to_be_one(world: World) -> None:
    world.commit(HOUR, {world.project: [["a"]]}, accepted=7)
    world.seal(HOUR)
    now(world, NEXT)
    assert closing.alarms(world.store.connection)
    assert find(world) == NotClosed(Hours(HOUR, HOUR), HOUR, alarmed=True)


def test_the_present_hour_is_left_out_where_others_have_files(world: World) -> None:
    world.commit(HOUR, {world.project: [["a"]]})
    world.commit(NEXT, {world.project: [["b"]]})
    world.seal(HOUR)
    now(world, NEXT)
    found = find(world, HOUR, NEXT.plus(5))
    assert not isinstance(found, Missing)
    assert found.through == HOUR
    assert len(names(found)) == 1
    alone = Hours(NEXT, NEXT.plus(5))
    assert find(world, *_ends(alone)) == NotOver(alone, NEXT, 2700)


def test_an_hour_that_is_sealed_before_the_clock_says_so_is_given(world: World) -> None:
    world.commit(HOUR, {world.project: [["a"]]})
    world.seal(HOUR)
    now(world, HOUR)
    assert len(names(find(world))) == 1


def test_files_that_were_dropped_make_no_zip_with_holes(world: World) -> None:
    for hour in (HOUR, NEXT):
        world.commit(hour, {world.project: [["a"]]})
    world.seal(NEXT)
    now(world, NEXT.next())
    with world.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE sealed_file SET removed_micros = 1 WHERE hour = ?", (HOUR.number,)
        )
    both = Hours(HOUR, NEXT)
    assert find(world, *_ends(both)) == NotKept(both, (HOUR,))
    assert len(names(find(world, NEXT, NEXT))) == 1


def test_more_than_an_export_may_have_is_not_begun(world: World) -> None:
    world.commit(HOUR, {world.project: [["a"]]})
    world.seal(HOUR)
    now(world, NEXT)
    (file,) = world.sealed(world.project, HOUR).files
    asked = Hours(HOUR, HOUR)
    size = file.size_bytes
    assert len(names(exports(world, bytes_max=size).find(world.project, asked))) == 1
    assert exports(world, bytes_max=size - 1).find(world.project, asked) == TooMuch(
        asked, 1, 100, size, size - 1
    )
    assert exports(world, files_max=0).find(world.project, asked) == TooMuch(
        asked, 1, 0, size, 2**32
    )


def test_a_file_that_is_not_there_is_named_before_anything_is_sent(world: World) -> None:
    world.commit(HOUR, {world.project: [["a"]]})
    world.seal(HOUR)
    now(world, NEXT)
    (file,) = world.sealed(world.project, HOUR).files
    world.archive.remove_file(world.project, HOUR, file.name)
    with pytest.raises(Corrupt, match=f"hour {HOUR}: the sealed file {file.name} is not there"):
        find(world)


@pytest.mark.parametrize("days", [1, DAYS_HELD_MAX + 1])
def test_files_stay_until_the_zip_is_closed_and_no_longer(world: World, days: int) -> None:
    world.commit(HOUR, {world.project: [["a"]]})
    world.seal(HOUR)
    now(world, NEXT)
    first = HOUR.plus(-24 * (days - 1))
    found = find(world, first, HOUR)
    assert not isinstance(found, Missing)
    assert is_held(world)
    found.read()
    assert is_held(world)
    found.close()
    assert not is_held(world)
    assert isinstance(find(world, HOUR.plus(-9), HOUR.previous()), NoData)
    assert isinstance(exports(world, files_max=0).find(1, Hours(HOUR, HOUR)), NoData)
    assert not is_held(world)


def _ends(hours: Hours) -> tuple[Hour, Hour]:
    return hours.first, hours.last
