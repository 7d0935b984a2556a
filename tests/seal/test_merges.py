"""Merged-ID files: one for each hour of an organization with merges, sealed as those of events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tailrace.hours import Hour
from tailrace.seal import closer
from tailrace.seal.inspect import inspect_file
from tailrace.seal.manifest import manifest_body
from tailrace.seal.merges import LINES_PER_CHUNK
from tailrace.seal.proof import check_chain, check_manifest
from tailrace.state import closing, sealing
from tailrace.state.sealed import SealedFile, SealedHour

if TYPE_CHECKING:
    from tests.seal.conftest import MakeWorld, World

HOUR = Hour.parse("2026-11-23T13")
OTHER_ORGANIZATION, OTHER_PROJECT = 100002, 300009


def record(world: World, hour: Hour, organization: int | None = None) -> Any:
    return json.loads(world.sealed(-(organization or world.organization), hour).record)


def merged(world: World, hour: Hour, organization: int | None = None) -> list[dict[str, int]]:
    files = world.sealed(-(organization or world.organization), hour).files
    return [json.loads(line) for file in files for line in world.content(file).splitlines()]


def test_all_merges_of_an_hour_are_one_file_in_the_order_of_their_records(world: World) -> None:
    world.commit(HOUR, {world.project: [["a"]], 300002: [["b"]]})
    world.merge(HOUR, (9, 5), (3, 5))
    world.merge(HOUR, (6, 4))
    world.seal(HOUR)

    sealed = world.sealed(-world.organization, HOUR)
    (file,) = sealed.files
    assert file.name == "-100001_2026-11-23_13.json.gz"
    at = HOUR.start_micros // 1000 + 1000
    assert (
        world.content(file)
        == (
            f'{{"scope":-100001,"merge_time":{at - 9},"merge_server_time":{at},"amplitude_id":9,'
            f'"merged_amplitude_id":5}}\n'
            f'{{"scope":-100001,"merge_time":{at - 3},"merge_server_time":{at},"amplitude_id":3,'
            f'"merged_amplitude_id":5}}\n'
            f'{{"scope":-100001,"merge_time":{at - 6},"merge_server_time":{at},"amplitude_id":6,'
            f'"merged_amplitude_id":4}}\n'
        ).encode()
    )
    path = world.archive.file_path(file.scope, HOUR, file.name)
    assert path.parent == world.folder / "archive" / "-100001" / "2026-11-23"
    assert inspect_file(path).sound


def test_the_record_of_an_hour_counts_its_merges(world: World) -> None:
    world.commit(HOUR, {world.project: [["a"]]}, duplicates=3)
    world.merge(HOUR, (9, 5), (3, 5))
    world.seal(HOUR)

    sealed = world.sealed(-world.organization, HOUR)
    body = manifest_body(sealed.record, sealed.digest, "raw/")
    checked = check_manifest(body)
    assert checked.keys == ("raw/-100001/-100001_2026-11-23_13.json.gz",)
    assert (checked.record.accepted, checked.record.exported) == (2, 2)
    assert checked.record.duplicates == 0
    assert checked.record.event_dates == {"2026-11-23": 2}
    assert checked.record.first_server_upload_time == "2026-11-23 13:00:01.000000"
    assert checked.record.last_server_upload_time == "2026-11-23 13:00:01.000000"
    assert checked.record.schema.keys == 5
    assert [file.lines for file in checked.record.files] == [2]


def test_merges_are_counted_by_the_date_of_their_event(world: World) -> None:
    world.commit(HOUR, {world.project: [["a"]]})
    world.merge(HOUR, (9, 5), (8, 5), (7, 5))
    with world.store.transaction() as connection:
        connection.execute("UPDATE merge SET merge_time = 0 WHERE amplitude_id = 7")
        last = "UPDATE merge SET merge_time = 253402300799999 WHERE amplitude_id = 8"
        connection.execute(last)
    world.seal(HOUR)
    dates = {"2026-11-23": 1, "earlier": 1, "later": 1}
    assert record(world, HOUR)["event_dates"] == dates


def test_an_hour_without_merges_has_a_record_and_no_file(world: World) -> None:
    for offset in range(3):
        world.commit(HOUR.plus(offset), {world.project: [["a"]]})
    world.merge(HOUR, (9, 5))
    world.merge(HOUR.plus(2), (8, 5))
    world.seal(HOUR.plus(2))

    assert [len(merged(world, HOUR.plus(offset))) for offset in range(3)] == [1, 0, 1]
    assert world.sealed(-world.organization, HOUR.next()).files == ()
    assert record(world, HOUR.next())["exported"] == 0
    hours = [world.sealed(-world.organization, HOUR.plus(offset)) for offset in range(3)]
    check_chain(manifest_body(sealed.record, sealed.digest, "") for sealed in hours)


def test_organizations_see_nothing_of_each_other(world: World) -> None:
    world.commit(HOUR, {world.project: [["a"]]})
    world.commit(HOUR, {OTHER_PROJECT: [["b"]]}, organization=OTHER_ORGANIZATION)
    world.merge(HOUR, (9, 5))
    world.merge(HOUR, (8, 6), (7, 6), organization=OTHER_ORGANIZATION)
    world.seal(HOUR)

    assert [line["amplitude_id"] for line in merged(world, HOUR)] == [9]
    other = merged(world, HOUR, OTHER_ORGANIZATION)
    assert [(line["scope"], line["amplitude_id"]) for line in other] == [(-100002, 8), (-100002, 7)]


def test_more_organizations_than_one_batch_of_files_holds_have_each_their_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One organization's file must not stand for that of another, in a later batch."""
    monkeypatch.setattr(closer, "FILES_PER_COMMIT", 2)
    organizations = range(OTHER_ORGANIZATION, OTHER_ORGANIZATION + 5)
    for organization in organizations:
        project = OTHER_PROJECT + organization
        world.commit(HOUR, {project: [["a"]]}, organization=organization)
        world.merge(HOUR, (organization, 5), organization=organization)
    world.seal(HOUR)
    for organization in organizations:
        (line,) = merged(world, HOUR, organization)
        assert (line["scope"], line["amplitude_id"]) == (-organization, organization)


def test_no_merge_is_sealed_while_a_partition_is_within_the_hour(world: World) -> None:
    world.commit(HOUR, {world.project: [["a"]]})
    world.merge(HOUR, (9, 5))
    world.partitions.append(2)
    world.seal(HOUR)
    assert world.ledger.sealed_hour(-world.organization, HOUR) is None
    assert sealing.files_of(world.store.connection, -world.organization, HOUR.number) == ()

    world.merge(HOUR, (8, 5))
    world.partitions.remove(2)
    world.closer.finish()
    assert [line["amplitude_id"] for line in merged(world, HOUR)] == [9, 8]


def test_a_large_hour_is_one_member_and_the_same_bytes_each_time(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    pairs = [(1000 + number * 7 % 50_021, 5) for number in range(LINES_PER_CHUNK * 2 + 3)]
    made = []
    for name, step in (("one", len(pairs)), ("two", 4000)):
        folder = tmp_path / name
        folder.mkdir()
        world = make_world(folder)
        world.commit(HOUR, {world.project: [["a"]]})
        for at in range(0, len(pairs), step):
            world.merge(HOUR, *pairs[at : at + step])
        world.seal(HOUR)
        assert [(line["amplitude_id"], 5) for line in merged(world, HOUR)] == pairs
        made.append(world.sealed(-world.organization, HOUR))
    assert made[0].files == made[1].files
    assert made[0].record == made[1].record


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("DELETE FROM merge WHERE amplitude_id = 9", "2 merges were accepted, but 1 exported"),
        ("UPDATE merge_hour SET merges = 3", "3 merges were accepted, but 2 exported"),
        ("DELETE FROM merge_hour", "0 merges were accepted, but 2 exported"),
    ],
)
def test_merges_that_do_not_balance_are_alarmed_and_not_sealed(
    world: World, change: str, why: str
) -> None:
    world.commit(HOUR, {world.project: [["a"]]})
    world.merge(HOUR, (9, 5), (8, 5))
    world.store.connection.execute(change)
    world.seal(HOUR)

    ((scope, hour, sentence),) = closing.alarms(world.store.connection)
    assert (scope, hour) == (-world.organization, HOUR)
    assert f"of the merged IDs of organization 100001: {why}" in sentence
    assert world.ledger.sealed_hour(-world.organization, HOUR) is None
    assert world.texts(world.project, HOUR) == ["a"]


def test_a_line_more_than_was_counted_is_alarmed(world: World) -> None:
    world.commit(HOUR, {world.project: [["a"]]})
    world.merge(HOUR, (9, 5), (8, 5))
    world.leave(HOUR)
    while sealing.files_of(world.store.connection, -world.organization, HOUR.number) == ():
        world.closer.step()
        world.closer._joining.wait()
    with world.store.transaction() as connection:
        connection.execute("DELETE FROM merge WHERE amplitude_id = 9")
        connection.execute("UPDATE merge_hour SET merges = 1")
    world.closer.finish()
    ((_, _, sentence),) = closing.alarms(world.store.connection)
    assert "1 merges were exported, but the files hold 2 lines" in sentence


class OlderRelease:
    """A folder as a release left it that recorded merges and wrote no files of them."""

    def __init__(self, world: World, merges: dict[Hour, int], hours: Sequence[Hour]) -> None:
        for hour in hours:
            world.commit(hour, {world.project: [["a"]]})
        world.seal(hours[-1])
        connection = world.store.connection
        with world.store.transaction():
            connection.execute("DROP TABLE merge_hour")
            connection.execute("DROP INDEX merge_by_sequence")
            connection.execute("ALTER TABLE merge DROP COLUMN sequence")
            connection.execute("CREATE INDEX merge_by_hour ON merge (organization, hour, stamp)")
            world.store.set_meta("format", 2)
            for hour, loser in merges.items():
                millis = hour.start_micros // 1000
                connection.execute(
                    "INSERT INTO merge VALUES (?, 5, ?, ?, ?, ?, ?)",
                    (loser, world.organization, hour.number, millis * 1000, millis, millis),
                )
        world.close()


@pytest.mark.parametrize("first", [0, 2])
def test_merges_of_hours_that_are_sealed_without_come_out_in_their_hours(
    make_world: MakeWorld, first: int
) -> None:
    hours = [HOUR.plus(offset) for offset in range(5)]
    OlderRelease(make_world(), {hours[first]: 9, hours[3]: 8}, hours)

    world = make_world()
    before = {hour: world.sealed(world.project, hour).digest for hour in hours}
    kept = [world.sealed(-world.organization, hour).digest for hour in hours[:first]]
    for turn in range(2):
        world.closer.recover()
        world.closer.finish()
        if turn == 0:
            world.commit(HOUR.plus(5), {world.project: [["b"]]})
            world.merge(HOUR.plus(5), (7, 5))
            world.seal(HOUR.plus(5))

    assert [line["amplitude_id"] for line in merged(world, hours[first])] == [9]
    assert [line["amplitude_id"] for line in merged(world, hours[3])] == [8]
    assert [line["amplitude_id"] for line in merged(world, HOUR.plus(5))] == [7]
    chain = [world.sealed(-world.organization, HOUR.plus(offset)) for offset in range(6)]
    check_chain(manifest_body(sealed.record, sealed.digest, "") for sealed in chain)
    assert [sealed.digest for sealed in chain[:first]] == kept
    assert {hour: world.sealed(world.project, hour).digest for hour in hours} == before
    assert closing.hours_to_hand_over(world.store.connection, 1) == []
    assert closing.alarms(world.store.connection) == []


class Died(BaseException):
    """Not an Exception: nothing may catch it, as nothing catches a kill."""


class Dying:
    """A ledger under a process that dies while it reopens hours, before or after."""

    def __init__(self, ledger: Any, when: str) -> None:
        self._ledger = ledger
        self._when = when

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def reopen(self, scope: int, organization: int, first: Hour) -> None:
        if self._when == "after":
            self._ledger.reopen(scope, organization, first)
        raise Died


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_while_hours_are_reopened_changes_nothing(make_world: MakeWorld, when: str) -> None:
    hours = [HOUR.plus(offset) for offset in range(3)]
    OlderRelease(make_world(), {hours[1]: 9}, hours)
    dying = make_world()
    dying.closer._handing._ledger = Dying(dying.ledger, when)
    with pytest.raises(Died):
        dying.closer.recover()
    known = dying.ledger.sealed_hour(-dying.organization, hours[1])
    assert (known is None) == (when == "after")
    dying.close()

    world = make_world()
    world.closer.recover()
    world.closer.finish()
    assert [line["amplitude_id"] for line in merged(world, hours[1])] == [9]
    chain = [world.sealed(-world.organization, hour) for hour in hours]
    check_chain(manifest_body(sealed.record, sealed.digest, "") for sealed in chain)


def test_a_start_reopens_no_hour_that_has_its_merges(make_world: MakeWorld) -> None:
    world = make_world()
    world.commit(HOUR, {world.project: [["a"]]})
    world.merge(HOUR, (9, 5))
    world.seal(HOUR)
    world.closer._handing._ledger = Dying(world.ledger, "before")
    world.closer.recover()
    assert world.store.connection.execute("SELECT count(*) FROM merge_hour").fetchone() == (0,)


def test_only_organizations_with_merges_are_reopened(make_world: MakeWorld) -> None:
    hours = [HOUR.plus(offset) for offset in range(3)]
    OlderRelease(make_world(), {}, hours)
    world = make_world()
    before = [world.sealed(-world.organization, hour) for hour in hours]
    world.closer.recover()
    world.closer.finish()
    assert [world.sealed(-world.organization, hour) for hour in hours] == before


def test_files_and_hours_are_what_the_ledger_was_given(world: World) -> None:
    world.commit(HOUR, {world.project: [["a"]]})
    world.merge(HOUR, (9, 5))
    world.seal(HOUR)
    sealed = world.sealed(-world.organization, HOUR)
    assert isinstance(sealed, SealedHour)
    (file,) = sealed.files
    assert isinstance(file, SealedFile)
    own = sealing.find_file(world.store.connection, -world.organization, HOUR.number, 0)
    assert own == file
    assert msgspec.json.decode(sealed.record)["files"][0]["sha256"] == file.sha256
