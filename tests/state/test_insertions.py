from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import pytest

from tailrace.errors import Corrupt
from tailrace.files import Buffer, Files
from tailrace.state import insertions
from tailrace.state.insertions import DAY_MICROS, Insertions
from tailrace.state.processing import ProcessingStore
from tailrace.state.processing_schema import FORMAT

DAY = 20_000
START = DAY * DAY_MICROS


class Ids:
    def random_bytes(self, count: int) -> bytes:
        return b"k" * count


class Keys:
    """The keys of one processing database; each `add` is a commit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = Files()
        self.chance = random.Random(1)
        self.known: dict[bytes, int] = {}
        self.epoch = 0
        self.stamp = START
        self.store = ProcessingStore.open(folder / "processing.sqlite", Ids())
        self.insertions = self.start()

    def start(self) -> Insertions:
        self.epoch += 1
        return Insertions(self.store.connection, self.store.keys_folder, self.files, self.epoch)

    def restart(self) -> None:
        self.insertions.close()
        self.insertions = self.start()

    def add(self, count: int, *, older_than: int = 0, after: int = 1) -> None:
        self.stamp += after
        new = {self.chance.randbytes(16): self.stamp for _ in range(count)}
        self.known |= new
        with self.store.transaction() as connection:
            self.insertions.write(connection, new, last_stamp=self.stamp, older_than=older_than)
        self.insertions.saved()

    def finish_merge(self) -> None:
        if self.insertions._merge is not None:
            wait([self.insertions._merge.made])

    def check(self) -> None:
        others = [self.chance.randbytes(16) for _ in range(500)]
        assert self.insertions.find([*self.known, *others]) == self.known

    def rows(self) -> list[tuple[int, str | None]]:
        return self.store.connection.execute("SELECT day, file FROM dedupe_run").fetchall()

    def files_there(self) -> set[str]:
        folder = self.store.keys_folder
        return {path.name for path in folder.iterdir()} if folder.exists() else set()

    def close(self) -> None:
        self.insertions.close()
        self.store.close()


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keys]:
    monkeypatch.setattr(insertions, "ROW_KEYS_MAX", 400)
    made = Keys(tmp_path)
    yield made
    made.close()


def test_every_key_is_found_through_merges_and_restarts(keys: Keys) -> None:
    for number in range(120):
        keys.add(keys.chance.choice((0, 1, 20, 50)))
        if number % 17 == 0:
            keys.finish_merge()
        if number % 40 == 39:
            keys.check()
            keys.restart()

    keys.check()
    assert len(keys.rows()) < 40
    assert any(file for _, file in keys.rows())


def test_files_are_those_that_rows_name(keys: Keys) -> None:
    for _ in range(100):
        keys.add(30)
        keys.finish_merge()

    named = {file for _, file in keys.rows() if file is not None}
    under_way = {keys.insertions._merge.file} if keys.insertions._merge else set()
    assert named
    assert keys.files_there() - under_way == named


def test_a_day_that_is_over_becomes_one_run(keys: Keys) -> None:
    for _ in range(30):
        keys.add(30)
        keys.finish_merge()
    assert len(keys.rows()) > 2

    for _ in range(3):
        keys.add(1, after=DAY_MICROS + insertions.DAY_CLOSED_MICROS)
        keys.finish_merge()
    keys.add(0)

    assert [day for day, _ in keys.rows()].count(DAY) == 1
    keys.check()


def test_a_run_goes_once_all_of_it_is_too_old(keys: Keys) -> None:
    keys.add(500)
    first = dict(keys.known)
    keys.add(1)
    keys.finish_merge()

    keys.add(0, older_than=keys.stamp)
    assert set(first).isdisjoint(keys.insertions.find(list(first)))
    keys.known = {key: stamp for key, stamp in keys.known.items() if key not in first}
    keys.check()
    keys.restart()
    keys.check()


def test_the_newest_of_several_stamps_of_a_key_counts(keys: Keys) -> None:
    key = b"k" * 16
    for stamp in (START + 5, START + DAY_MICROS, START + 7):
        with keys.store.transaction() as connection:
            keys.insertions.write(connection, {key: stamp}, last_stamp=stamp, older_than=0)
        keys.insertions.saved()

    assert keys.insertions.find([key]) == {key: START + DAY_MICROS}


def test_a_file_without_a_row_is_removed_after_the_first_commit(keys: Keys) -> None:
    keys.add(500)
    folder = keys.store.keys_folder
    folder.mkdir(exist_ok=True)
    for name in ("00000001-00000099.keys", ".00000001-00000098.keys.tmp"):
        (folder / name).write_bytes(b"left over")
    keys.restart()
    assert len(keys.files_there()) >= 2

    keys.add(1)

    assert not {name for name in keys.files_there() if "0000009" in name}
    keys.check()


def test_a_row_without_its_file_stops_the_start(keys: Keys) -> None:
    for _ in range(12):
        keys.add(100)
        keys.finish_merge()
    (name,) = {file for _, file in keys.rows() if file is not None}
    (keys.store.keys_folder / name).unlink()

    with pytest.raises(Corrupt, match="Restore the data folder"):
        keys.restart()


class FullDisk(Files):
    """A disk that takes no whole file while `full`."""

    full = True

    def put_whole(self, path: Path, chunks: Any, **options: Any) -> int:
        if self.full:
            raise OSError(28, "No space left on device")
        return super().put_whole(path, chunks, **options)


def test_a_merge_that_the_disk_refuses_is_tried_again_later(keys: Keys) -> None:
    disk = FullDisk()
    keys.files = disk
    keys.restart()
    for _ in range(10):
        keys.add(100)
        keys.finish_merge()
    assert not any(file for _, file in keys.rows())
    keys.check()

    disk.full = False
    for _ in range(insertions.COMMITS_AFTER_FAILED_MERGE + 2):
        keys.add(1)
        keys.finish_merge()

    assert any(file for _, file in keys.rows())
    keys.check()


def test_merges_that_the_disk_refuses_for_long_end_the_process(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.files = FullDisk()
    keys.restart()
    for _ in range(10):
        keys.add(100)
        keys.finish_merge()

    def go_on() -> None:
        for _ in range(insertions.COMMITS_AFTER_FAILED_MERGE + 2):
            keys.add(1)
            keys.finish_merge()

    go_on()
    monkeypatch.setattr(insertions, "ROWS_BYTES_MAX", 1000)
    with pytest.raises(OSError, match="No space left"):
        go_on()


def test_a_commit_waits_for_a_merge_while_too_much_lies_in_rows(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(insertions, "ROWS_BYTES_MAX", 1000)
    go_on = threading.Event()
    keys.insertions._thread.submit(go_on.wait, 30)
    for _ in range(7):
        keys.add(100)
    new = {keys.chance.randbytes(16): keys.stamp for _ in range(100)}
    with keys.store.transaction() as connection:
        keys.insertions.write(connection, new, last_stamp=keys.stamp, older_than=0)
    keys.known |= new

    commit = threading.Thread(target=keys.insertions.saved)
    commit.start()
    commit.join(0.1)
    assert commit.is_alive()
    go_on.set()
    commit.join(30)

    assert not commit.is_alive()
    keys.add(0)
    assert [file is None for _, file in keys.rows()] == [False]
    keys.check()


def test_the_end_of_a_processor_breaks_off_its_merge(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()
    go_on = threading.Event()

    def slow(self: Files, descriptor: int, data: Buffer) -> int:
        begun.set()
        go_on.wait(30)
        return write_all(self, descriptor, data)

    write_all: Callable[[Files, int, Buffer], int] = Files.write_all
    monkeypatch.setattr(Files, "write_all", slow)
    for _ in range(8):
        keys.add(100)
    assert begun.wait(30)
    keys.insertions._closing.set()
    go_on.set()
    keys.restart()
    monkeypatch.setattr(Files, "write_all", write_all)

    assert keys.files_there() == set()
    keys.check()


def test_keys_of_the_first_format_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "processing.sqlite"
    ProcessingStore.open(path, Ids()).close()
    chance = random.Random(3)
    old = {chance.randbytes(16): START + day * DAY_MICROS for day in range(3) for _ in range(50)}
    connection = sqlite3.connect(path)
    connection.execute("UPDATE meta SET value = 1 WHERE name = 'format'")
    connection.execute("INSERT INTO meta VALUES ('dedupe_swept', x'')")
    connection.execute("DROP TABLE dedupe_run")
    connection.execute(
        "CREATE TABLE dedupe (key BLOB PRIMARY KEY, stamp INTEGER, partition INTEGER, "
        "position INTEGER, idx INTEGER) WITHOUT ROWID"
    )
    connection.executemany("INSERT INTO dedupe VALUES (?, ?, 1, 1, 0)", old.items())
    connection.commit()
    connection.close()

    for _ in range(2):
        made = Keys(tmp_path)
        made.known = old
        made.check()
        assert sorted(day for day, _ in made.rows()) == [DAY, DAY + 1, DAY + 2]
        assert made.store.meta("format") == FORMAT
        made.close()
