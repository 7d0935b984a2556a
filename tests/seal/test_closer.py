from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from tailrace.errors import Corrupt, InUse
from tailrace.hours import Hour
from tailrace.seal.closer import SEALED_THROUGH
from tailrace.seal.handing import CLOSED_THROUGH
from tailrace.seal.manifest import manifest_body
from tailrace.seal.proof import check_chain
from tailrace.state import closing, sealing

if TYPE_CHECKING:
    from tests.seal.conftest import MakeWorld, World

HOUR = Hour.parse("2026-11-23T13")


def record(world: World, scope: int, hour: Hour) -> Any:
    return json.loads(world.sealed(scope, hour).record)


def sealed_scopes(world: World, hour: Hour) -> list[int]:
    rows = world.store.connection.execute(
        "SELECT scope FROM sealed_hour WHERE hour = ? ORDER BY scope", (hour.number,)
    )
    return [row[0] for row in rows]


def numbers(world: World) -> tuple[int | None, int | None]:
    connection = world.store.connection
    return (
        sealing.read_number(connection, CLOSED_THROUGH),
        sealing.read_number(connection, SEALED_THROUGH),
    )


def test_an_hour_becomes_one_file_with_every_line_in_order(world: World) -> None:
    world.commit(HOUR, {world.project: [["a", "b"], ["c"]]})
    world.commit(HOUR, {world.project: [["d"]]})
    world.seal(HOUR)

    (file,) = world.sealed(world.project, HOUR).files
    assert file.name == "300001_2026-11-23_13#1.json.gz"
    assert world.texts(world.project, HOUR) == ["a", "b", "c", "d"]
    data = world.archive.file_path(file.scope, HOUR, file.name).read_bytes()
    assert (file.size_bytes, file.lines) == (len(data), 4)
    assert file.sha256 == sha256(data).hexdigest()


def test_nothing_is_sealed_while_a_partition_is_within_the_hour(world: World) -> None:
    world.commit(HOUR, {world.project: [["a"]]})
    world.partitions.append(2)
    world.leave(HOUR)
    assert not world.closer.step()
    assert sealed_scopes(world, HOUR) == []


def test_chunk_rows_and_packs_go_with_the_hour(world: World) -> None:
    world.commit(HOUR, {world.project: [["a"]], 300002: [["b"]]})
    kept = world.commit(HOUR.next(), {world.project: [["c"]]})
    world.seal(HOUR)
    assert world.archive.pack_names() == [kept]
    assert sealing.chunk_bytes(world.store.connection, world.project, HOUR.number) == 0
    assert closing.project_hour(world.store.connection, world.project, HOUR.number) is None
    assert closing.event_dates(world.store.connection, world.project, HOUR.number) == {}


def test_a_pack_stays_while_another_hour_needs_it(world: World) -> None:
    world.commit(HOUR, {world.project: [["a"]]})
    shared = world.commit(HOUR.next(), {world.project: [["c"]], 300002: [["d"]]})
    with world.store.transaction() as connection:
        connection.execute("UPDATE chunk SET hour = ? WHERE project = 300002", (HOUR.number,))
        connection.execute(
            "UPDATE project_hour SET hour = ? WHERE project = 300002", (HOUR.number,)
        )
        connection.execute("UPDATE event_date SET hour = ? WHERE project = 300002", (HOUR.number,))
    world.seal(HOUR)
    assert world.archive.pack_names() == [shared]
    world.seal(HOUR.next())
    assert world.archive.pack_names() == []


def test_a_full_partition_is_made_while_its_hour_is_open(make_world: MakeWorld) -> None:
    world = make_world(partition_bytes=150)
    for text in ("a", "b", "c", "d"):
        world.commit(HOUR, {world.project: [[text + sha256(text.encode()).hexdigest()]]})
    world.closer.finish()

    early = sealing.files_of(world.store.connection, world.project, HOUR.number)
    assert [file.number for file in early] == [1, 2]
    assert sealing.files_to_hand_over(world.store.connection, 10) == []
    assert world.ledger.sealed_hour(world.project, HOUR) is None
    world.commit(HOUR, {world.project: [["e"]]})
    world.seal(HOUR)

    sealed = world.sealed(world.project, HOUR)
    assert [file.number for file in sealed.files] == [1, 2, 3]
    assert sealed.files[:2] == early
    assert [text[0] for text in world.texts(world.project, HOUR)] == ["a", "b", "c", "d", "e"]


def test_without_early_exports_files_are_owed_with_their_sealed_hour(
    make_world: MakeWorld,
) -> None:
    world = make_world(partition_bytes=150, early=False)
    for text in ("a", "b"):
        world.commit(HOUR, {world.project: [[text + sha256(text.encode()).hexdigest()]]})
    world.closer.finish()

    assert len(sealing.files_of(world.store.connection, world.project, HOUR.number)) == 1
    assert len(sealing.files_to_hand_over(world.store.connection, 10)) == 1
    world.seal(HOUR)

    assert sealing.files_to_hand_over(world.store.connection, 10) == []
    handed_over = world.ledger.sealed_hour(world.project, HOUR)
    assert handed_over == world.sealed(world.project, HOUR)


def test_a_partition_takes_the_fewest_chunks_that_reach_its_size(make_world: MakeWorld) -> None:
    world = make_world(partition_bytes=1)
    world.commit(HOUR, {world.project: [["a"], ["b"], ["c"]]})
    world.seal(HOUR)
    assert [file.lines for file in world.sealed(world.project, HOUR).files] == [1, 1, 1]
    assert world.texts(world.project, HOUR) == ["a", "b", "c"]


def test_the_loop_goes_on_while_a_file_is_made_and_its_chunks_are_reserved(
    make_world: MakeWorld,
) -> None:
    world = make_world(partition_bytes=1)
    world.commit(HOUR, {world.project: [["a"]]})
    assert world.closer.step()
    assert len(world.store.reserved_chunks) == 1
    world.commit(HOUR, {world.project: [["b"]]})
    world.closer.finish()
    assert world.store.reserved_chunks == set()
    files = sealing.files_of(world.store.connection, world.project, HOUR.number)
    assert [file.lines for file in files] == [1, 1]


def test_an_hour_without_lines_has_no_file_but_its_accounting(world: World) -> None:
    world.commit(HOUR, {world.project: []}, duplicates=3, identifies=2, held=1)
    world.seal(HOUR)
    assert world.sealed(world.project, HOUR).files == ()
    found = record(world, world.project, HOUR)
    assert (found["accepted"], found["exported"], found["files"]) == (6, 0, [])
    assert (found["duplicates"], found["identifies"], found["held"]) == (3, 2, 1)
    assert not (world.folder / "archive").exists()


def test_hours_are_sealed_oldest_first_and_linked(world: World) -> None:
    for offset in (0, 1, 2):
        world.commit(HOUR.plus(offset), {world.project: [[f"{offset}"]]})
    world.seal(HOUR.plus(3))
    bodies = []
    for offset in range(4):
        sealed = world.sealed(world.project, HOUR.plus(offset))
        bodies.append(manifest_body(sealed.record, sealed.digest, "p/"))
    assert [checked.record.exported for checked in check_chain(bodies)] == [1, 1, 1, 0]
    assert numbers(world) == (HOUR.number + 3, HOUR.number + 3)


@pytest.mark.slow  # Seven days are 168 hours, each sealed for itself.
def test_an_empty_hour_is_sealed_until_seven_days_without_events(world: World) -> None:
    world.commit(HOUR, {world.project: [["a"]]})
    world.seal(HOUR.plus(400))
    rows = world.store.connection.execute(
        "SELECT scope, min(hour), max(hour), count(*) FROM sealed_hour GROUP BY scope"
    ).fetchall()
    last = HOUR.number + 168
    assert rows == [
        (-world.organization, HOUR.number, last, 169),
        (world.project, HOUR.number, last, 169),
    ]
    assert numbers(world) == (HOUR.number + 400, HOUR.number + 400)


@pytest.mark.slow  # Seven days are 168 hours, each sealed for itself.
def test_a_project_that_wakes_says_how_long_it_was_quiet(world: World) -> None:
    world.commit(HOUR, {world.project: [["a"]]})
    world.seal(HOUR.plus(400))
    world.commit(HOUR.plus(401), {world.project: [["b"]]})
    world.seal(HOUR.plus(401))
    previous = record(world, world.project, HOUR.plus(401))["previous"]
    assert previous == {
        "hour": str(HOUR.plus(168)),
        "sha256": world.sealed(world.project, HOUR.plus(168)).digest,
        "quiet_hours": 232,
    }


def test_a_scope_without_any_event_has_no_hours(world: World) -> None:
    world.seal(HOUR)
    assert sealed_scopes(world, HOUR) == []
    world.commit(HOUR.next(), {world.project: [["a"]]})
    world.seal(HOUR.next())
    assert sealed_scopes(world, HOUR) == []
    assert sealed_scopes(world, HOUR.next()) == [-world.organization, world.project]


@pytest.mark.slow  # Seven days are 168 hours, each sealed for itself.
def test_an_organization_is_awake_while_any_of_its_projects_is(world: World) -> None:
    world.commit(HOUR, {300001: [["a"]]})
    world.commit(HOUR, {300009: [["z"]]}, organization=100009)
    world.commit(HOUR.plus(100), {300002: [["b"]]})
    world.seal(HOUR.plus(300))
    rows = world.store.connection.execute(
        "SELECT scope, max(hour) - ? FROM sealed_hour GROUP BY scope ORDER BY scope", (HOUR.number,)
    ).fetchall()
    assert rows == [(-100009, 168), (-100001, 268), (300001, 168), (300002, 268), (300009, 168)]
    merged = record(world, -100001, HOUR)
    assert (merged["accepted"], merged["files"], merged["organization"]) == (0, [], 100001)


def test_quiet_hours_are_not_passed_for_a_partition_that_just_came(world: World) -> None:
    class Growing(list[int]):
        """Another partition is listed between two looks."""

        def __iter__(self) -> Iterator[int]:
            listed = list(super().__iter__())
            self.append(2)
            return iter(listed)

    world.commit(HOUR, {world.project: [["a"]]})
    world.seal(HOUR)
    with world.store.transaction() as connection:
        connection.execute("UPDATE scope_activity SET last_event_hour = last_event_hour - 200")
    world.commit(HOUR.plus(5), {world.project: [["b"]]})
    world.leave(HOUR.plus(2))
    world.partitions = Growing([1])
    world.closer.step()
    assert numbers(world) == (HOUR.number + 1, HOUR.number + 1)


@pytest.mark.parametrize("wrong", [{"accepted": 2}, {"accepted": 0}])
def test_an_hour_that_does_not_balance_is_alarmed_and_the_others_go_on(
    world: World, wrong: dict[str, int]
) -> None:
    world.commit(HOUR, {world.project: [["a"]]}, **wrong)
    world.commit(HOUR, {300002: [["b"]]})
    world.commit(HOUR.next(), {world.project: [["c"]], 300002: [["d"]]})
    world.seal(HOUR.next())

    assert sealed_scopes(world, HOUR) == [-world.organization, 300002]
    assert sealed_scopes(world, HOUR.next()) == [-world.organization, 300002]
    ((scope, hour, sentence),) = closing.alarms(world.store.connection)
    assert (scope, hour) == (world.project, HOUR)
    assert "events were accepted" in sentence
    assert numbers(world) == (HOUR.number + 1, HOUR.number - 1)


def test_an_alarmed_hour_is_tried_again_at_the_next_start(make_world: MakeWorld) -> None:
    world = make_world()
    world.commit(HOUR, {world.project: [["a"]]}, accepted=2)
    world.commit(HOUR.plus(2), {world.project: [["c"]], 300002: [["d"]]})
    world.seal(HOUR.plus(2))
    assert sealed_scopes(world, HOUR.plus(2)) == [-world.organization, 300002]
    with world.store.transaction() as connection:
        connection.execute("UPDATE project_hour SET accepted = 1 WHERE hour = ?", (HOUR.number,))
    before = world.sealed(300002, HOUR.plus(2))

    again = make_world()
    again.closer.recover()
    again.closer.finish()
    assert closing.alarms(again.store.connection) == []
    for offset, texts in ((0, ["a"]), (1, []), (2, ["c"])):
        assert again.texts(again.project, HOUR.plus(offset)) == texts
    assert again.sealed(300002, HOUR.plus(2)) == before
    assert numbers(again) == (HOUR.number + 2, HOUR.number + 2)
    chain = [again.sealed(again.project, HOUR.plus(offset)) for offset in range(3)]
    check_chain(manifest_body(sealed.record, sealed.digest, "") for sealed in chain)


def test_a_damaged_pack_holds_its_own_project_alone(world: World) -> None:
    name = world.commit(HOUR, {world.project: [["a" * 200]]})
    world.commit(HOUR, {300002: [["b"]]})
    path = world.folder / "packs" / name
    data = bytearray(path.read_bytes())
    data[30] ^= 0xFF
    path.write_bytes(data)
    world.seal(HOUR)

    assert sealed_scopes(world, HOUR) == [-world.organization, 300002]
    ((_, _, sentence),) = closing.alarms(world.store.connection)
    assert sentence.startswith("Cannot make 300001_2026-11-23_13#1.json.gz: a chunk ")
    assert world.archive.pack_names() == [name]
    assert list((world.folder / "archive" / "300001" / "2026-11-23").iterdir()) == []


@pytest.mark.slow  # A thousand files, so that three groups are needed.
def test_many_small_projects_are_sealed_in_groups(world: World) -> None:
    projects = range(300001, 300001 + 1100)
    world.commit(HOUR, {project: [[f"{project}"]] for project in projects})
    world.leave(HOUR)
    statements: list[str] = []
    world.store.connection.set_trace_callback(statements.append)
    world.closer.finish()
    world.store.connection.set_trace_callback(None)

    assert len(sealed_scopes(world, HOUR)) == 1101
    assert all(world.texts(project, HOUR) == [f"{project}"] for project in (300001, 301100))
    # Three commits of files, three of hours and three of their marks, and nothing per project.
    assert statements.count("COMMIT") == 9


def test_a_committed_file_is_never_made_again(make_world: MakeWorld) -> None:
    world = make_world(partition_bytes=1)
    world.commit(HOUR, {world.project: [["a"]]})
    world.closer.finish()
    path = world.archive.file_path(world.project, HOUR, "300001_2026-11-23_13#1.json.gz")
    before = path.stat()
    world.commit(HOUR, {world.project: [["b"]]})
    world.seal(HOUR)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.stat().st_ino == before.st_ino


def test_an_archive_file_without_a_row_is_replaced(world: World) -> None:
    world.archive.put_file(world.project, HOUR, "300001_2026-11-23_13#1.json.gz", [b"left over"])
    world.commit(HOUR, {world.project: [["a"]]})
    world.seal(HOUR)
    assert world.texts(world.project, HOUR) == ["a"]


def test_lines_without_accounting_stop_the_processor(world: World) -> None:
    world.commit(HOUR, {world.project: [["a"]]})
    world.commit(HOUR, {300002: [["b"]]})
    with world.store.transaction() as connection:
        connection.execute("DELETE FROM project_hour WHERE project = 300002")
    world.leave(HOUR)
    with pytest.raises(Corrupt, match="it has lines but no accounting"):
        world.closer.finish()


def test_a_closer_of_an_earlier_epoch_commits_nothing(make_world: MakeWorld) -> None:
    world = make_world()
    world.commit(HOUR, {world.project: [["a"]]})
    world.leave(HOUR)
    make_world()
    with pytest.raises(InUse, match="Another processor took over"):
        world.closer.finish()
    assert sealing.files_of(world.store.connection, world.project, HOUR.number) == ()


def test_a_closer_that_ends_leaves_its_file_without_a_row(make_world: MakeWorld) -> None:
    world = make_world(partition_bytes=1)
    world.commit(HOUR, {world.project: [["a"]]})
    assert world.closer.step()
    world.closer.close()
    assert sealing.files_of(world.store.connection, world.project, HOUR.number) == ()
    assert world.store.reserved_chunks == set()

    again = make_world(partition_bytes=1)
    again.closer.recover()
    again.seal(HOUR)
    assert again.texts(again.project, HOUR) == ["a"]
