from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tailrace.archive.batch import OPEN_FILES_MAX
from tailrace.archive.folder import PACK_HEADER, FolderArchive, pack_epoch, pack_name
from tailrace.errors import Corrupt, InUse, NewerFormat
from tailrace.files import Files
from tailrace.hours import Hour

HOUR = Hour.parse("2020-01-25T17")
NAME = "187520_2020-01-25_17#1.json.gz"


def make(folder: Path, files: Files | None = None) -> FolderArchive:
    return FolderArchive(folder / "packs", folder / "archive", files or Files())


def test_a_packs_offsets_count_from_the_files_first_byte(tmp_path: Path) -> None:
    archive = make(tmp_path)
    size = archive.put_pack(pack_name(3, 1), [b"first", b"second"])

    assert size == len(PACK_HEADER) + 11
    assert archive.read_pack(pack_name(3, 1), len(PACK_HEADER), 5) == b"first"
    assert archive.read_pack(pack_name(3, 1), len(PACK_HEADER) + 5, 6) == b"second"


def test_packs_are_listed_by_epoch_and_left_overs_are_not(tmp_path: Path) -> None:
    archive = make(tmp_path)
    assert archive.pack_names() == []
    for name in (pack_name(10, 1), pack_name(9, 2), pack_name(9, 1)):
        archive.put_pack(name, [b"x"])
    (tmp_path / "packs" / f".{pack_name(11, 1)}.tmp").write_bytes(b"half")

    assert archive.pack_names() == [pack_name(9, 1), pack_name(9, 2), pack_name(10, 1)]
    assert [pack_epoch(name) for name in archive.pack_names()] == [9, 9, 10]


def test_a_removed_pack_is_gone_and_may_be_removed_again(tmp_path: Path) -> None:
    archive = make(tmp_path)
    archive.put_pack(pack_name(1, 1), [b"x"])
    archive.remove_pack(pack_name(1, 1))
    archive.remove_pack(pack_name(1, 1))
    assert archive.pack_names() == []
    with pytest.raises(Corrupt, match="it is gone"):
        archive.read_pack(pack_name(1, 1), 8, 1)


def test_a_pack_that_ends_too_early_is_corrupt(tmp_path: Path) -> None:
    archive = make(tmp_path)
    archive.put_pack(pack_name(1, 1), [b"abc"])
    with pytest.raises(Corrupt, match="ends 2 bytes before"):
        archive.read_pack(pack_name(1, 1), len(PACK_HEADER), 5)


def test_a_pack_of_a_later_format_is_refused_and_a_foreign_file_too(tmp_path: Path) -> None:
    archive = make(tmp_path)
    (tmp_path / "packs").mkdir()
    newer = PACK_HEADER[:-1] + bytes([PACK_HEADER[-1] + 1])
    (tmp_path / "packs" / "a").write_bytes(newer + b"data")
    (tmp_path / "packs" / "b").write_bytes(b"no pack at all")
    with pytest.raises(NewerFormat, match="newer release"):
        archive.read_pack("a", 8, 4)
    with pytest.raises(Corrupt, match="does not begin"):
        archive.read_pack("b", 8, 4)


def test_sealed_files_lie_by_scope_and_date(tmp_path: Path) -> None:
    archive = make(tmp_path)
    size = archive.put_file(187520, HOUR, NAME, [b"ab", b"cd"])

    path = tmp_path / "archive" / "187520" / "2020-01-25" / NAME
    assert size == 4
    assert archive.file_path(187520, HOUR, NAME) == path
    with archive.open_file(187520, HOUR, NAME) as file:
        assert file.read() == b"abcd"


def test_a_left_over_is_replaced_whole(tmp_path: Path) -> None:
    archive = make(tmp_path)
    archive.put_file(1, HOUR, NAME, [b"a long left-over"])
    archive.put_file(1, HOUR, NAME, [b"new"])
    assert archive.file_path(1, HOUR, NAME).read_bytes() == b"new"


def test_a_write_that_fails_leaves_no_file(tmp_path: Path) -> None:
    archive = make(tmp_path)

    def chunks() -> Iterable[bytes]:
        yield b"half"
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"):
        archive.put_file(1, HOUR, NAME, chunks())
    assert os.listdir(archive.file_path(1, HOUR, NAME).parent) == []


def test_the_last_removed_file_of_a_day_takes_the_folder_with_it(tmp_path: Path) -> None:
    archive = make(tmp_path)
    archive.put_file(1, HOUR, "a", [b"1"])
    archive.put_file(1, HOUR, "b", [b"2"])
    archive.remove_file(1, HOUR, "a")
    assert archive.file_path(1, HOUR, "b").exists()
    archive.remove_file(1, HOUR, "b")
    assert not archive.file_path(1, HOUR, "b").parent.exists()
    archive.remove_file(1, HOUR, "b")


def test_a_file_is_put_though_its_folder_goes_at_that_moment(tmp_path: Path) -> None:
    class Racing(Files):
        raced = False

        def begin_folder(self, path: Path, root: Path) -> set[Path]:
            unsynced = super().begin_folder(path, root)
            if not self.raced:
                self.raced = True
                path.rmdir()
            return unsynced

    archive = make(tmp_path, Racing())
    assert archive.put_file(1, HOUR, NAME, iter([b"abc"])) == 3
    assert archive.file_path(1, HOUR, NAME).read_bytes() == b"abc"


def test_files_of_a_batch_count_when_it_ends(tmp_path: Path) -> None:
    archive = make(tmp_path)
    paths = [archive.file_path(scope, HOUR, NAME) for scope in range(1, OPEN_FILES_MAX + 3)]
    with archive.new_files() as batch:
        for path in paths:
            assert batch.write(path, [str(path).encode()]) == len(str(path))
        assert [path.exists() for path in paths] == [True] * OPEN_FILES_MAX + [False] * 2
    assert all(path.read_bytes() == str(path).encode() for path in paths)
    assert all(len(list(path.parent.iterdir())) == 1 for path in paths)


def test_new_folders_of_a_batch_are_durable_when_it_ends(tmp_path: Path) -> None:
    class Watched(Files):
        synced: list[Path]

        def sync_folder(self, path: Path) -> None:
            self.synced.append(path)
            super().sync_folder(path)

    files = Watched()
    files.synced = []
    archive = make(tmp_path, files)
    paths = [archive.file_path(scope, HOUR, NAME) for scope in (1, 2)]
    with archive.new_files() as batch:
        for path in paths:
            batch.write(path, [b"x"])
        files.synced.clear()
    root = tmp_path / "archive"
    wanted = [root, root / "1", root / "2", paths[0].parent, paths[1].parent]
    assert sorted(files.synced) == sorted(wanted)
    files.synced.clear()
    archive.put_file(1, HOUR, "next", [b"y"])
    assert files.synced == [paths[0].parent]


def test_one_file_that_fails_leaves_the_rest_of_its_batch(tmp_path: Path) -> None:
    archive = make(tmp_path)
    good, bad = archive.file_path(1, HOUR, NAME), archive.file_path(2, HOUR, NAME)

    def chunks() -> Iterable[bytes]:
        yield b"half"
        raise Corrupt("no more of it")

    with archive.new_files() as batch:
        batch.write(good, [b"good"])
        with pytest.raises(Corrupt, match="no more"):
            batch.write(bad, chunks())
    assert good.read_bytes() == b"good"
    assert os.listdir(bad.parent) == []


def test_a_batch_that_fails_leaves_no_files(tmp_path: Path) -> None:
    class Full(Files):
        def sync_descriptor(self, descriptor: int) -> None:
            raise OSError("no space left")

    archive = make(tmp_path, Full())
    (tmp_path / "archive").mkdir()
    path = archive.file_path(1, HOUR, NAME)
    with pytest.raises(OSError, match="no space"), archive.new_files() as batch:
        batch.write(path, [b"data"])
    assert os.listdir(path.parent) == []


def test_a_file_has_its_name_only_once_its_bytes_are_synced(tmp_path: Path) -> None:
    steps: list[str] = []

    class Watched(Files):
        def sync_descriptor(self, descriptor: int) -> None:
            super().sync_descriptor(descriptor)
            steps.append("sync")

        def rename(self, source: Path, target: Path) -> None:
            super().rename(source, target)
            steps.append(f"rename {target.name}")

        def sync_folder(self, path: Path) -> None:
            super().sync_folder(path)
            steps.append(f"folder {path.name}")

    archive = make(tmp_path, Watched())
    archive.put_file(1, HOUR, "old", [b"x"])
    steps.clear()
    with archive.new_files() as batch:
        batch.write(archive.file_path(1, HOUR, "a"), [b"a"])
        batch.write(archive.file_path(1, HOUR, "b"), [b"b"])
    assert steps == ["sync", "sync", "rename a", "rename b", f"folder {HOUR.date}"]


def test_a_stalled_processor_takes_no_unfinished_file_from_the_next_one(tmp_path: Path) -> None:
    def lost() -> AbstractContextManager[None]:
        raise InUse("another processor took over")

    archive = make(tmp_path)
    path = archive.file_path(187520, HOUR, NAME)
    with archive.new_files() as batch:
        batch.write(path, [b"whole"])
        # The one before wakes up when the file is written and has no name yet.
        with pytest.raises(InUse), archive.new_files(lost) as stalled:
            stalled.write(path, [b"other"])

    assert path.read_bytes() == b"whole"
