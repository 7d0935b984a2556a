from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tailrace.errors import Corrupt
from tailrace.hours import Hour
from tailrace.ids import SystemIds
from tailrace.state import closing, sealing
from tailrace.state.closing import DueScope
from tailrace.state.processing import ProcessingStore
from tailrace.state.sealed import SealedFile, SealedHour

HOUR = Hour.parse("2026-11-23T13")
PROJECT = 300001
ORGANIZATION = 100001


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ProcessingStore]:
    store = ProcessingStore.open(tmp_path / "processing.sqlite", SystemIds())
    yield store
    store.close()


def file(number: int, *, hour: Hour = HOUR, scope: int = PROJECT) -> SealedFile:
    name = f"{scope}_{hour.date}_{hour.of_day}#{number}.json.gz"
    return SealedFile(scope, hour, number, name, 10, "ab" * 32, 7, 3, 90)


def add_chunks(store: ProcessingStore, count: int, *, hour: Hour = HOUR) -> list[int]:
    ids = []
    with store.transaction() as connection:
        for sequence in range(count, 0, -1):
            cursor = connection.execute(
                "INSERT INTO chunk (project, hour, sequence, pack, offset, length, crc, "
                "raw_length, lines) VALUES (?, ?, ?, 'p', 8, ?, 0, 100, 1)",
                (PROJECT, hour.number, sequence, sequence * 10),
            )
            ids.append(cursor.lastrowid or 0)
    return ids


def add_project_hour(store: ProcessingStore, project: int, hour: Hour, organization: int) -> None:
    with store.transaction() as connection:
        connection.execute(
            "INSERT INTO project_hour (project, hour, organization, settings, accepted, "
            "first_stamp, last_stamp) VALUES (?, ?, ?, '{}', 0, 1, 2)",
            (project, hour.number, organization),
        )


def seal(store: ProcessingStore, due: DueScope, hour: Hour = HOUR) -> SealedHour:
    with store.transaction() as connection:
        files = sealing.files_of(connection, due.scope, hour.number)
        sealed = SealedHour(due.scope, due.organization, hour, b"{}", f"{hour}", files)
        closing.add_hour(connection, sealed, due)
    return sealed


def due(store: ProcessingStore, hour: Hour, limit: int = 100) -> list[int]:
    return [found.scope for found in closing.due_scopes(store.connection, hour.number, limit)]


def test_opening_again_keeps_every_table(tmp_path: Path) -> None:
    for _ in range(2):
        store = ProcessingStore.open(tmp_path / "again.sqlite", SystemIds())
        with store.transaction() as connection:
            sealing.add_file(connection, file(1), ORGANIZATION, [])
            connection.execute("DELETE FROM file WHERE number = 2")
            connection.execute("UPDATE file SET number = 2")
        store.close()


def test_a_file_row_replaces_the_chunks_that_it_was_made_from(store: ProcessingStore) -> None:
    ids = add_chunks(store, 3)
    with store.transaction() as connection:
        sealing.add_file(connection, file(1), ORGANIZATION, ids[1:])
    assert sealing.files_of(store.connection, PROJECT, HOUR.number) == (file(1),)
    left = [chunk.id for chunk in sealing.chunks_of(store.connection, PROJECT, HOUR.number)]
    assert left == ids[:1]
    assert sealing.file_number_max(store.connection, PROJECT, HOUR.number) == 1
    assert sealing.file_number_max(store.connection, PROJECT, HOUR.number + 1) == 0


def test_chunks_come_in_the_order_of_their_lines(store: ProcessingStore) -> None:
    ids = add_chunks(store, 4)
    found = [chunk.id for chunk in sealing.chunks_of(store.connection, PROJECT, HOUR.number)]
    assert found == ids[::-1]
    assert found == [chunk.id for chunk in sealing.chunks_of_hour(store.connection, HOUR.number)]
    assert sealing.chunk_bytes(store.connection, PROJECT, HOUR.number) == 100


def test_only_new_chunks_are_added_up(store: ProcessingStore) -> None:
    first = add_chunks(store, 2)
    key = (PROJECT, HOUR.number)
    assert list(sealing.chunk_bytes_after(store.connection, 0)) == [(*key, 30, first[-1])]
    second = add_chunks(store, 1)
    assert list(sealing.chunk_bytes_after(store.connection, first[-1])) == [(*key, 10, second[0])]
    assert list(sealing.chunk_bytes_after(store.connection, second[0])) == []


def test_a_chunk_that_went_elsewhere_stops_the_row(store: ProcessingStore) -> None:
    ids = add_chunks(store, 2)
    with pytest.raises(Corrupt, match="1 of its 3 chunks have no row"), store.transaction() as c:
        sealing.add_file(c, file(1), ORGANIZATION, [*ids, max(ids) + 1])
    assert sealing.files_of(store.connection, PROJECT, HOUR.number) == ()
    assert sealing.chunk_bytes(store.connection, PROJECT, HOUR.number) == 30


def test_a_second_row_for_a_file_is_refused(store: ProcessingStore) -> None:
    with store.transaction() as connection:
        sealing.add_file(connection, file(1), ORGANIZATION, [])
    with pytest.raises(Corrupt, match="has a row for it"), store.transaction() as connection:
        sealing.add_file(connection, file(1), ORGANIZATION, [])


def test_files_wait_until_they_are_marked(store: ProcessingStore) -> None:
    later = file(1, hour=HOUR.next())
    with store.transaction() as connection:
        for made in (later, file(2), file(1)):
            sealing.add_file(connection, made, ORGANIZATION, [])
    waiting = sealing.files_to_hand_over(store.connection, 10)
    assert waiting == [(ORGANIZATION, file(1)), (ORGANIZATION, file(2)), (ORGANIZATION, later)]
    assert sealing.files_to_hand_over(store.connection, 1) == waiting[:1]
    with store.transaction() as connection:
        sealing.mark_files(connection, [file(1), later])
    assert sealing.files_to_hand_over(store.connection, 10) == [(ORGANIZATION, file(2))]
    with store.transaction() as connection:
        sealing.hand_over_again(connection, PROJECT, HOUR.number)
    assert sealing.files_to_hand_over(store.connection, 10) == [
        (ORGANIZATION, file(2)),
        (ORGANIZATION, later),
    ]


def test_numbers_are_kept_by_name(store: ProcessingStore) -> None:
    assert sealing.read_number(store.connection, "sealed_through") is None
    with store.transaction() as connection:
        sealing.write_number(connection, "sealed_through", 5)
        sealing.write_number(connection, "sealed_through", 6)
    assert sealing.read_number(store.connection, "sealed_through") == 6


def test_a_scope_is_due_with_events_and_for_seven_days_after(store: ProcessingStore) -> None:
    add_project_hour(store, PROJECT, HOUR, ORGANIZATION)
    assert due(store, HOUR.previous()) == []
    assert due(store, HOUR) == [-ORGANIZATION, PROJECT]
    assert due(store, HOUR, limit=1) == [-ORGANIZATION]
    for scope in closing.due_scopes(store.connection, HOUR.number, 10):
        assert scope.with_events
        seal(store, scope)
    assert due(store, HOUR) == []
    assert due(store, HOUR.plus(168)) == [-ORGANIZATION, PROJECT]
    assert due(store, HOUR.plus(169)) == []
    assert closing.any_scope_awake(store.connection, HOUR.number + 168)
    assert not closing.any_scope_awake(store.connection, HOUR.number + 169)


def test_an_hour_without_events_does_not_keep_a_scope_awake(store: ProcessingStore) -> None:
    add_project_hour(store, PROJECT, HOUR, ORGANIZATION)
    for hour in (HOUR, HOUR.plus(100)):
        for scope in closing.due_scopes(store.connection, hour.number, 10):
            assert scope.with_events is (hour == HOUR)
            seal(store, scope, hour)
    assert due(store, HOUR.plus(169)) == []
    (link, digest) = closing.newest_links(store.connection)[PROJECT]
    assert (link, digest) == (HOUR.plus(100), f"{HOUR.plus(100)}")


def test_a_sealed_hour_takes_its_accounting_with_it(store: ProcessingStore) -> None:
    add_project_hour(store, PROJECT, HOUR, ORGANIZATION)
    add_project_hour(store, PROJECT, HOUR.next(), ORGANIZATION)
    with store.transaction() as connection:
        for hour in (HOUR, HOUR.next()):
            connection.execute(
                "INSERT INTO event_date VALUES (?, ?, '2026-11-23', 4)", (PROJECT, hour.number)
            )
    seal(store, DueScope(PROJECT, ORGANIZATION, True, None, None))
    assert closing.project_hour(store.connection, PROJECT, HOUR.number) is None
    assert closing.event_dates(store.connection, PROJECT, HOUR.number) == {}
    assert closing.project_hour(store.connection, PROJECT, HOUR.number + 1) is not None
    assert closing.event_dates(store.connection, PROJECT, HOUR.number + 1) == {"2026-11-23": 4}
    assert closing.oldest_hour_with_events(store.connection, None) == HOUR.number + 1
    assert closing.oldest_hour_with_events(store.connection, HOUR.number + 1) is None


def test_hours_wait_with_their_files_until_they_are_marked(store: ProcessingStore) -> None:
    with store.transaction() as connection:
        sealing.add_file(connection, file(2), ORGANIZATION, [])
        sealing.add_file(connection, file(1), ORGANIZATION, [])
    sealed = seal(store, DueScope(PROJECT, ORGANIZATION, True, None, None))
    assert sealed.files == (file(1), file(2))
    assert closing.hours_to_hand_over(store.connection, 10) == [sealed]
    assert closing.sealed_digest(store.connection, PROJECT, HOUR.number) == sealed.digest
    assert closing.sealed_digest(store.connection, PROJECT, HOUR.number + 1) is None
    with store.transaction() as connection:
        closing.mark_hours(connection, [sealed])
    assert closing.hours_to_hand_over(store.connection, 10) == []
    with store.transaction() as connection:
        sealing.hand_over_again(connection, PROJECT, HOUR.number - 1)
    assert closing.hours_to_hand_over(store.connection, 10) == [sealed]


def test_an_alarm_blocks_its_scope_until_it_may_be_tried_again(store: ProcessingStore) -> None:
    add_project_hour(store, PROJECT, HOUR, ORGANIZATION)
    add_chunks(store, 2)
    with store.transaction() as connection:
        closing.raise_alarm(connection, PROJECT, HOUR.number, "first")
        closing.raise_alarm(connection, PROJECT, HOUR.number, "second")
    assert due(store, HOUR) == [-ORGANIZATION]
    assert list(sealing.chunks_of_hour(store.connection, HOUR.number)) == []
    assert closing.alarms(store.connection) == [(PROJECT, HOUR, "second")]
    assert closing.oldest_alarm_hour(store.connection) == HOUR.number

    with store.transaction() as connection:
        closing.unblock(connection)
    assert due(store, HOUR) == [-ORGANIZATION, PROJECT]
    assert len(list(sealing.chunks_of_hour(store.connection, HOUR.number))) == 2
    assert closing.alarms(store.connection) != []
    seal(store, DueScope(PROJECT, ORGANIZATION, True, None, None))
    assert closing.alarms(store.connection) == []
    assert closing.oldest_alarm_hour(store.connection) is None


def test_what_is_asked_every_round_uses_an_index(store: ProcessingStore) -> None:
    for statement in (
        "SELECT min(hour) FROM project_hour WHERE hour > 5",
        "SELECT 1 FROM chunk WHERE pack = 'p' LIMIT 1",
        "SELECT sum(length) FROM chunk WHERE hour = 5 AND project = 1",
        "SELECT * FROM chunk WHERE hour = 5 ORDER BY hour, project, sequence",
        "SELECT 1 FROM file WHERE handed_over = 0 ORDER BY hour, scope, number LIMIT 1",
        "SELECT 1 FROM sealed_hour WHERE handed_over = 0 ORDER BY hour, scope LIMIT 1",
        "SELECT 1 FROM scope_activity WHERE last_event_hour >= 5",
    ):
        plan = store.connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
        assert "USING" in plan[0][3], (statement, plan)
        assert "INDEX" in plan[0][3], (statement, plan)
