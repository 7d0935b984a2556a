from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tailrace.errors import Corrupt, InUse, NewerFormat
from tailrace.hours import Hour
from tailrace.ids import SystemIds
from tailrace.state import processing_rows
from tailrace.state.processing import (
    FIRST_AMPLITUDE_ID,
    CommittedPosition,
    Move,
    ProcessingStore,
)
from tailrace.state.processing_schema import FORMAT

HOUR = Hour.parse("2026-03-05T17")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "processing.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[ProcessingStore]:
    store = ProcessingStore.open(path, SystemIds())
    yield store
    store.close()


def test_other_users_of_the_machine_can_not_read_it(store: ProcessingStore, path: Path) -> None:
    modes = {found.name: found.stat().st_mode & 0o007 for found in path.parent.iterdir()}
    names = [path.name, f"{path.name}-shm", f"{path.name}-wal"]
    assert modes == dict.fromkeys(names, 0)


def test_commits_wait_for_the_disk(store: ProcessingStore) -> None:
    pragmas = [
        store.connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous")
    ]

    assert pragmas == ["wal", 2]


def test_keys_are_drawn_once_and_kept(path: Path, store: ProcessingStore) -> None:
    first = [store.meta(name) for name in ("uuid_key", "dedupe_key")]
    store.close()

    again = ProcessingStore.open(path, SystemIds())

    assert [again.meta(name) for name in ("uuid_key", "dedupe_key")] == first
    assert len(set(first)) == 2
    assert again.meta_number("next_amplitude_id") == FIRST_AMPLITUDE_ID
    again.close()


def test_a_newer_format_is_refused_and_left_alone(path: Path, store: ProcessingStore) -> None:
    with store.transaction():
        store.set_meta("format", FORMAT + 1)
    store.close()

    with pytest.raises(NewerFormat, match=f"format is {FORMAT + 1}, this release knows {FORMAT}"):
        ProcessingStore.open(path, SystemIds())


def test_a_transaction_that_raises_leaves_nothing(store: ProcessingStore) -> None:
    def write_and_fail() -> None:
        with store.transaction():
            store.set_meta("name", 1)
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        write_and_fail()

    assert store.meta("name") is None
    assert not store.connection.in_transaction


def test_epochs_grow_over_restarts(path: Path, store: ProcessingStore) -> None:
    first = store.draw_epoch()
    store.close()

    again = ProcessingStore.open(path, SystemIds())

    assert again.draw_epoch() == first + 1
    again.close()


def test_a_checkpoint_moves_positions_from_where_they_were_read(store: ProcessingStore) -> None:
    epoch = store.draw_epoch()
    with store.checkpoint(epoch, [Move(1, 0, 10, 100), Move(2, 0, 5, 90)]):
        pass
    with store.checkpoint(epoch, [Move(1, 10, 20, 200)]):
        pass

    assert store.positions() == {
        1: CommittedPosition(1, 20, 200),
        2: CommittedPosition(2, 5, 90),
    }


@pytest.mark.parametrize("read_from", [0, 9, 20])
def test_a_checkpoint_from_elsewhere_changes_nothing(
    store: ProcessingStore, read_from: int
) -> None:
    epoch = store.draw_epoch()
    with store.checkpoint(epoch, [Move(2, 0, 10, 100)]):
        pass

    with (
        pytest.raises(InUse, match="partition 2"),
        store.checkpoint(epoch, [Move(1, 0, 10, 100), Move(2, read_from, 20, 200)]),
    ):
        store.set_meta("written", 1)

    assert store.positions() == {2: CommittedPosition(2, 10, 100)}
    assert store.meta("written") is None


def test_an_older_epoch_can_not_write(store: ProcessingStore) -> None:
    mine = store.draw_epoch()
    store.draw_epoch()

    with pytest.raises(InUse, match="took over"), store.checkpoint(mine, [Move(1, 0, 1, 1)]):
        store.set_meta("written", 1)
    with pytest.raises(InUse, match="took over"), store.owned_transaction(mine):
        store.set_meta("written", 1)

    assert store.meta("written") is None
    assert store.positions() == {}


def test_an_hour_is_left_when_every_partition_has_passed_its_end(store: ProcessingStore) -> None:
    epoch = store.draw_epoch()
    end = HOUR.end_micros
    with store.checkpoint(epoch, [Move(1, 0, 10, end), Move(2, 0, 10, end - 1)]):
        pass

    assert store.left_through([1]) == HOUR
    assert store.left_through([2]) == HOUR.previous()
    assert store.left_through([1, 2]) == HOUR.previous()
    assert store.left_through([1, 3]) is None
    assert store.left_through([]) is None


def test_counting_an_hour_that_has_no_row_is_an_error(store: ProcessingStore) -> None:
    row = (1, 1, 0, 0, 0, 0, 5, 6, 300001, HOUR.number)
    with pytest.raises(Corrupt, match="only 0 have a row"), store.transaction() as connection:
        processing_rows.count_project_hours(connection, [row])


def test_many_ids_are_found_in_one_call(store: ProcessingStore) -> None:
    with store.transaction() as connection:
        processing_rows.write_users(connection, [(1, f"u{n}", n) for n in range(3000)])

    asked = [f"u{n}" for n in range(1, 6000, 2)]
    found = processing_rows.find_users(store.connection, 1, asked)

    assert sorted(number for _, number in found) == list(range(1, 3000, 2))


def test_ids_of_one_organization_are_not_found_in_another(store: ProcessingStore) -> None:
    with store.transaction() as connection:
        processing_rows.write_devices(connection, [(1, "d", 7, 0), (2, "d", 8, 1)])
        processing_rows.write_identities(connection, [(7, 1, "Jo"), (8, 2, None)])

    assert processing_rows.find_devices(store.connection, 1, ["d", "e"]) == [("d", 7, "Jo")]
    assert processing_rows.find_devices(store.connection, 2, ["d"]) == [("d", 8, None)]


def test_a_reader_sees_whole_checkpoints_while_one_is_written(
    path: Path, store: ProcessingStore
) -> None:
    epoch = store.draw_epoch()
    reader = sqlite3.connect(path)

    with store.checkpoint(epoch, [Move(1, 0, 10, 100)]):
        during = reader.execute("SELECT count(*) FROM position").fetchone()
    after = reader.execute("SELECT count(*) FROM position").fetchone()

    reader.close()
    assert (during, after) == ((0,), (1,))
