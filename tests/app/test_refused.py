"""How the pages learn what collectors refused."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tailrace.app.refused import RefusedFile, read_refused, remove_refused
from tailrace.collect.refusals import Refusal
from tailrace.files import Files


def refusal(at_micros: int, project: int = 300001) -> Refusal:
    return Refusal(at_micros, project, "/2/httpapi", 400, '{"error":"no"}')


class FullDisk(Files):
    def rename(self, source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "no", str(target))


def test_all_collectors_are_read_the_newest_first_and_each_project_alone(tmp_path: Path) -> None:
    RefusedFile(tmp_path, "collector-1", Files()).write([refusal(1), refusal(2, 300002)])
    RefusedFile(tmp_path, "collector-2", Files()).write([refusal(3)])
    assert [one.at_micros for one in read_refused(tmp_path, 300001)] == [3, 1]
    assert [one.at_micros for one in read_refused(tmp_path, 300002)] == [2]
    assert read_refused(tmp_path, 300003) == ()


def test_a_torn_file_is_no_word_and_one_that_ended_is_gone(tmp_path: Path) -> None:
    file = RefusedFile(tmp_path, "collector-1", Files())
    file.write([refusal(1)])
    (tmp_path / "collector-2.refused").write_bytes(b'[{"at_micros":')
    assert len(read_refused(tmp_path, 300001)) == 1
    file.remove()
    assert read_refused(tmp_path, 300001) == ()


class ReadOnlyDisk(Files):
    def remove(self, path: Path) -> None:
        raise OSError(errno.EROFS, "no", str(path))


def test_a_disk_that_lets_nothing_go_keeps_no_collector_from_closing(tmp_path: Path) -> None:
    RefusedFile(tmp_path, "collector-1", Files()).write([refusal(1)])
    RefusedFile(tmp_path, "collector-1", ReadOnlyDisk()).remove()
    assert len(read_refused(tmp_path, 300001)) == 1


def test_what_a_collector_left_that_died_goes_with_the_next_start(tmp_path: Path) -> None:
    RefusedFile(tmp_path, "collector-7", Files()).write([refusal(1)])
    (tmp_path / "collector-7.json").touch()
    remove_refused(tmp_path, Files())
    assert [path.name for path in tmp_path.iterdir()] == ["collector-7.json"]


@pytest.mark.parametrize("known", [0, 1])
def test_a_full_disk_leaves_what_was_there_and_no_litter(tmp_path: Path, known: int) -> None:
    if known:
        RefusedFile(tmp_path, "collector-1", Files()).write([refusal(1)])
    RefusedFile(tmp_path, "collector-1", FullDisk()).write([refusal(2)])
    assert [one.at_micros for one in read_refused(tmp_path, 300001)] == [1] * known
    assert len(list(tmp_path.iterdir())) == known
