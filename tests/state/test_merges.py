"""Merges are numbered in the order of their records and counted, also those of an older folder."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tailrace.hours import Hour
from tailrace.ids import SystemIds
from tailrace.state import merges, processing_rows
from tailrace.state.processing import ProcessingStore
from tailrace.state.processing_schema import FORMAT

HOUR = Hour.parse("2026-03-05T17")
ACME, OTHER = 100001, 100002

OLDER = """
DROP TABLE merge_hour;
DROP TABLE merge;
CREATE TABLE merge (
    amplitude_id INTEGER PRIMARY KEY,
    merged_amplitude_id INTEGER NOT NULL,
    organization INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    stamp INTEGER NOT NULL,
    merge_time INTEGER NOT NULL,
    merge_server_time INTEGER NOT NULL
);
CREATE INDEX merge_by_hour ON merge (organization, hour, stamp);
UPDATE meta SET value = 2 WHERE name = 'format';
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "processing.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[ProcessingStore]:
    opened = ProcessingStore.open(path, SystemIds())
    yield opened
    opened.close()


def row(
    loser: int, organization: int = ACME, hour: Hour = HOUR, second: int = 0
) -> tuple[int, ...]:
    stamp = hour.start_micros + second * 1_000_000
    return (loser, 5, organization, hour.number, stamp, stamp // 1000 - 1, stamp // 1000)


def losers(store: ProcessingStore, organization: int = ACME, hour: Hour = HOUR) -> list[int]:
    return [line[0] for line in store.merges(organization, hour)]


def counted(store: ProcessingStore) -> list[tuple[int, int, int]]:
    return store.connection.execute(
        "SELECT organization, hour, merges FROM merge_hour ORDER BY 1, 2"
    ).fetchall()


def test_merges_keep_the_order_of_their_records_from_checkpoint_to_checkpoint(
    store: ProcessingStore,
) -> None:
    for rows in (
        [row(9), row(3, OTHER), row(4)],
        [row(8), row(6, hour=HOUR.next()), row(1, OTHER)],
        [row(2)],
    ):
        with store.transaction() as connection:
            processing_rows.write_merges(connection, rows)
    assert losers(store) == [9, 4, 8, 2]
    assert losers(store, OTHER) == [3, 1]
    assert counted(store) == [
        (ACME, HOUR.number, 4),
        (ACME, HOUR.number + 1, 1),
        (OTHER, HOUR.number, 2),
    ]


def test_what_is_not_committed_is_not_counted(store: ProcessingStore) -> None:
    def write_and_fail() -> None:
        with store.transaction() as connection:
            processing_rows.write_merges(connection, [row(9)])
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        write_and_fail()
    assert counted(store) == []
    with store.transaction() as connection:
        processing_rows.write_merges(connection, [row(9)])
    numbers = store.connection.execute("SELECT sequence FROM merge").fetchall()
    assert numbers == [(1,)]


def test_merges_of_an_older_folder_are_numbered_and_counted_once(path: Path) -> None:
    ProcessingStore.open(path, SystemIds()).close()
    connection = sqlite3.connect(path)
    connection.executescript(OLDER)
    connection.executemany(
        "INSERT INTO merge VALUES (?, ?, ?, ?, ?, ?, ?)",
        [row(9, second=1), row(8, second=2), row(4, second=2), row(7, OTHER), row(6)],
    )
    connection.commit()
    connection.close()

    for _ in range(2):
        store = ProcessingStore.open(path, SystemIds())
        assert losers(store) == [6, 9, 4, 8]
        assert losers(store, OTHER) == [7]
        assert counted(store) == [(ACME, HOUR.number, 4), (OTHER, HOUR.number, 1)]
        assert store.meta("format") == FORMAT
        store.close()

    store = ProcessingStore.open(path, SystemIds())
    with store.transaction() as connection:
        processing_rows.write_merges(connection, [row(1)])
    assert losers(store) == [6, 9, 4, 8, 1]
    store.close()


def test_the_first_format_opens_with_its_merges(path: Path) -> None:
    ProcessingStore.open(path, SystemIds()).close()
    connection = sqlite3.connect(path)
    connection.executescript(OLDER)
    connection.executescript(
        "UPDATE meta SET value = 1 WHERE name = 'format';"
        "CREATE TABLE dedupe (key BLOB PRIMARY KEY, stamp INTEGER, partition INTEGER, "
        "position INTEGER, idx INTEGER) WITHOUT ROWID;"
    )
    connection.execute("INSERT INTO merge VALUES (?, ?, ?, ?, ?, ?, ?)", row(9))
    connection.commit()
    connection.close()
    store = ProcessingStore.open(path, SystemIds())
    assert losers(store) == [9]
    assert store.meta("format") == FORMAT
    store.close()


def test_the_accounting_of_an_hour_without_merges_is_none(store: ProcessingStore) -> None:
    assert merges.accounting(store.connection, ACME, HOUR.number) is None
    with store.transaction() as connection:
        processing_rows.write_merges(connection, [row(9, second=3), row(8, second=5)])
    found = merges.accounting(store.connection, ACME, HOUR.number)
    assert found is not None
    assert (found.accepted, found.exported) == (2, 2)
    assert found.first_stamp == HOUR.start_micros + 3_000_000
    assert found.last_stamp == HOUR.start_micros + 5_000_000
