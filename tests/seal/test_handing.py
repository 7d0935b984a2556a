from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing as closing_connection
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tailrace.errors import Corrupt, NeedsOperator
from tailrace.hours import Hour
from tailrace.state import closing, sealing
from tailrace.state.sealed import SealedFile, SealedHour

if TYPE_CHECKING:
    from tests.seal.conftest import MakeWorld, World

HOUR = Hour.parse("2026-11-23T13")


class Unreachable:
    """A ledger whose database can't be written."""

    def add_files(self, files: Sequence[SealedFile], organization: int) -> None:
        raise OSError("the ledger's disk is full")

    def add_hours(self, hours: Sequence[SealedHour]) -> None:
        raise OSError("the ledger's disk is full")

    def newest_sealed(self) -> dict[int, tuple[Hour, str]]:
        return {}

    def open_files(self) -> list[SealedFile]:
        return []


def restore(backup: Path, database: Path) -> None:
    for path in database.parent.glob(f"{database.name}*"):
        path.unlink()
    backup.rename(database)


def unmarked(world: World) -> tuple[int, int]:
    connection = world.store.connection
    return (
        len(sealing.files_to_hand_over(connection, 100)),
        len(closing.hours_to_hand_over(connection, 100)),
    )


def test_what_the_ledger_did_not_take_is_handed_over_at_the_next_start(
    make_world: MakeWorld,
) -> None:
    world = make_world(ledger=Unreachable(), partition_bytes=1)
    world.commit(HOUR, {world.project: [["a"]]})
    world.leave(HOUR)
    with pytest.raises(OSError, match="ledger's disk"):
        world.closer.finish()
    assert unmarked(world) == (1, 0)

    again = make_world()
    again.closer.recover()
    assert unmarked(again) == (0, 0)
    again.closer.finish()
    assert again.texts(again.project, HOUR) == ["a"]


def test_a_ledger_that_knows_a_later_hour_stops_the_start(
    make_world: MakeWorld, world: World
) -> None:
    world.commit(HOUR, {world.project: [["a"]]})
    world.seal(HOUR)
    with world.store.transaction() as connection:
        connection.execute("DELETE FROM sealed_hour WHERE scope > 0")
        connection.execute(
            "UPDATE scope_activity SET last_sealed_hour = ? WHERE scope > 0", (HOUR.number - 1,)
        )
    with pytest.raises(NeedsOperator, match="knows it only up to 2026-11-23T12"):
        make_world().closer.recover()


def test_a_ledger_of_a_project_that_is_unknown_here_stops_the_start(
    make_world: MakeWorld, world: World
) -> None:
    world.commit(HOUR, {world.project: [["a"]]})
    world.seal(HOUR)
    with world.store.transaction() as connection:
        connection.execute("DELETE FROM scope_activity WHERE scope > 0")
    with pytest.raises(NeedsOperator, match="knows none of it"):
        make_world().closer.recover()


def test_a_ledger_with_another_record_stops_the_start(make_world: MakeWorld, world: World) -> None:
    world.commit(HOUR, {world.project: [["a"]]})
    world.seal(HOUR)
    with world.store.transaction() as connection:
        connection.execute("UPDATE sealed_hour SET digest = 'other' WHERE scope > 0")
    with pytest.raises(Corrupt, match="has another seal record in the ledger"):
        make_world().closer.recover()


def test_a_ledger_that_knows_an_early_file_stops_the_start(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    world = make_world(partition_bytes=1)
    backup = tmp_path / "backup.sqlite"
    with closing_connection(sqlite3.connect(backup)) as copy:
        world.store.connection.backup(copy)
    world.commit(HOUR, {world.project: [["a"]]})
    world.closer.finish()
    world.close()
    name = "300001_2026-11-23_13#1.json.gz"
    path = world.archive.file_path(world.project, HOUR, name)
    delivered = path.read_bytes()

    restore(backup, world.folder / "processing.sqlite")
    again = make_world(partition_bytes=1)
    again.commit(HOUR, {world.project: [["a", "b"]]})
    with pytest.raises(NeedsOperator, match=f"holds the file {name}, but"):
        again.closer.recover()
    assert path.read_bytes() == delivered


def test_a_ledger_with_another_early_file_stops_the_start(make_world: MakeWorld) -> None:
    world = make_world(partition_bytes=1)
    world.commit(HOUR, {world.project: [["a"]]})
    world.closer.finish()
    with world.store.transaction() as connection:
        connection.execute("UPDATE file SET sha256 = 'other'")
    with pytest.raises(Corrupt, match="but other in the processing database"):
        make_world().closer.recover()


def test_a_ledger_that_is_older_gets_everything_again(make_world: MakeWorld, world: World) -> None:
    for offset in range(3):
        world.commit(HOUR.plus(offset), {world.project: [["a"]]})
    world.seal(HOUR)
    newest = world.ledger.newest_sealed()

    class Older(Unreachable):
        def __init__(self) -> None:
            self.files: list[SealedFile] = []
            self.hours: list[SealedHour] = []

        def add_files(self, files: Sequence[SealedFile], organization: int) -> None:
            self.files += files

        def add_hours(self, hours: Sequence[SealedHour]) -> None:
            self.hours += hours

        def newest_sealed(self) -> dict[int, tuple[Hour, str]]:
            return newest

    world.seal(HOUR.plus(2))
    older = Older()
    again = make_world(ledger=older)
    again.closer.recover()
    assert [(file.scope, file.hour) for file in older.files] == [
        (world.project, HOUR.plus(1)),
        (world.project, HOUR.plus(2)),
    ]
    assert [(sealed.scope, sealed.hour) for sealed in older.hours] == [
        (-world.organization, HOUR.plus(1)),
        (world.project, HOUR.plus(1)),
        (-world.organization, HOUR.plus(2)),
        (world.project, HOUR.plus(2)),
    ]
    assert unmarked(again) == (0, 0)


def test_files_are_handed_over_under_their_own_organization(make_world: MakeWorld) -> None:
    class Seen(Unreachable):
        def __init__(self) -> None:
            self.owners: dict[int, list[int]] = {}

        def add_files(self, files: Sequence[SealedFile], organization: int) -> None:
            scopes = self.owners.setdefault(organization, [])
            scopes += [file.scope for file in files]

        def add_hours(self, hours: Sequence[SealedHour]) -> None:
            return

    seen = Seen()
    world = make_world(ledger=seen, partition_bytes=1)
    world.commit(HOUR, {3: [["a"]], 1: [["b"]]}, organization=100002)
    world.commit(HOUR, {2: [["c"]]}, organization=100001)
    world.seal(HOUR)
    assert seen.owners == {100001: [2], 100002: [1, 3]}


@pytest.mark.parametrize(("partition_bytes", "early"), [(1, [1, 2]), (1_000_000, [])])
def test_what_an_hour_has_left_goes_with_it_unless_it_is_much(
    make_world: MakeWorld, partition_bytes: int, early: list[int]
) -> None:
    class Seen(Unreachable):
        def __init__(self) -> None:
            self.early: list[int] = []
            self.sealed: list[int] = []

        def add_files(self, files: Sequence[SealedFile], organization: int) -> None:
            self.early += [file.scope for file in files]

        def add_hours(self, hours: Sequence[SealedHour]) -> None:
            self.sealed += [file.scope for sealed in hours for file in sealed.files]

    seen = Seen()
    world = make_world(ledger=seen, partition_bytes=partition_bytes)
    world.commit(HOUR, {1: [["a"]], 2: [["b"]]})
    world.seal(HOUR)
    assert (seen.early, seen.sealed) == (early, [1, 2])
    assert unmarked(world) == (0, 0)
