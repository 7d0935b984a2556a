"""The data folder: format, lock and clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from tailrace.clock import SystemClock
from tailrace.errors import BadRequest, Corrupt, InUse, NeedsOperator, NewerFormat
from tailrace.files import Files
from tailrace.folder import DataFolder


def _folder(tmp_path: Path) -> DataFolder:
    folder = DataFolder(tmp_path / "data")
    folder.create(Files())
    return folder


def test_a_folder_is_made_once_and_kept(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    folder.create(Files())
    folder.check()
    assert folder.log.is_dir()


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(NeedsOperator, match=r"thesis\.txt"):
        DataFolder(tmp_path).create(Files())
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_missing_folder_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(NeedsOperator, match="tailrace init"):
        DataFolder(tmp_path / "none").check()


def test_a_newer_folder_is_refused(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    (folder.path / "format.json").write_text('{"format":99}')
    with pytest.raises(NewerFormat, match="99"):
        folder.check()


def test_a_broken_format_file_is_said(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    (folder.path / "format.json").write_text("{")
    with pytest.raises(Corrupt, match=r"format\.json"):
        folder.check()


def test_a_second_service_is_refused(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    held = folder.lock(Files())
    with pytest.raises(InUse, match="another process holds"):
        folder.lock(Files())
    held.release()
    folder.lock(Files()).release()


def test_the_clock_is_fixed_at_the_first_start(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    start = "2020-01-25T17:59:30"
    first = folder.fix_clock(start, Files())
    assert first.offset_micros < 0
    assert folder.fix_clock(None, Files()).offset_micros == first.offset_micros
    assert folder.fix_clock(start, Files()).offset_micros == first.offset_micros
    assert folder.clock().offset_micros == first.offset_micros
    with pytest.raises(NeedsOperator, match="2020-01-25T17:59:30"):
        folder.fix_clock("2021-01-01T00:00:00", Files())


def test_a_folder_on_the_machines_time_stays_there(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    assert folder.fix_clock(None, Files()).offset_micros == 0
    with pytest.raises(NeedsOperator, match="the machine's time"):
        folder.fix_clock("2020-01-25T17:59:30", Files())


def test_a_start_that_is_no_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="2026-01-02T13:59:30"):
        _folder(tmp_path).fix_clock("noon", Files())


def test_the_system_clock_is_moved_by_the_offset() -> None:
    ahead = SystemClock(3_600_000_000).now_micros() - SystemClock().now_micros()
    assert 3_599_000_000 < ahead < 3_601_000_000


def test_the_same_start_written_in_another_way_is_no_different_one(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    first = folder.fix_clock("2020-01-25T17:59:30", Files())
    for same in ("2020-01-25T17:59:30Z", "2020-01-25 18:59:30+01:00"):
        assert folder.fix_clock(same, Files()).offset_micros == first.offset_micros


@pytest.mark.parametrize("start", ["0001-01-01T00:00:00", "1970-12-31", "9999-12-31T23:59:59"])
def test_a_start_that_no_clock_can_show_is_refused(tmp_path: Path, start: str) -> None:
    folder = _folder(tmp_path)
    with pytest.raises(BadRequest, match="out of range"):
        folder.fix_clock(start, Files())
    assert folder.clock_file() is None


def test_a_start_that_fails_fixes_no_clock(tmp_path: Path) -> None:
    folder = _folder(tmp_path)

    def fail(clock: SystemClock) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        folder.fix_clock("2020-01-25T17:59:30", Files(), before=fail)
    assert folder.clock_file() is None


def test_a_file_system_of_its_own_may_be_the_folder(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    DataFolder(tmp_path).create(Files())
    DataFolder(tmp_path).check()
