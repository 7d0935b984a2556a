"""The file layer: whole files, locks, kill points."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tailrace.errors import InUse
from tailrace.files import Files


class _FullDisk(Files):
    def sync_descriptor(self, descriptor: int) -> None:
        raise OSError(28, "No space left on device")


def test_a_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    assert Files().put_whole(path, [b"one", memoryview(b"two")]) == 6
    assert path.read_bytes() == b"onetwo"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    Files().put_whole(path, [b"old"])
    with pytest.raises(OSError, match="No space"):
        _FullDisk().put_whole(path, [b"new"])
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


class _NoRename(Files):
    def rename(self, source: Path, target: Path) -> None:
        raise OSError(5, "Input/output error")


def test_a_failed_rename_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    Files().put_whole(path, [b"old"])
    with pytest.raises(OSError, match="Input/output"):
        _NoRename().put_whole(path, [b"new"])
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    ("point", "content"), [("written", b"old"), ("renamed", b"new"), ("durable", b"new")]
)
def test_a_killed_writer_leaves_one_whole_file(tmp_path: Path, point: str, content: bytes) -> None:
    path = tmp_path / "a.json"
    Files().put_whole(path, [b"old"])
    script = (
        "import sys; from pathlib import Path; from tailrace import killpoints\n"
        "from tailrace.files import Files\n"
        f"killpoints.arm('test.{point}')\n"
        "Files().put_whole(Path(sys.argv[1]), [b'new'], point='test')\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert ended.returncode == -9
    assert path.read_bytes() == content


def test_a_kill_point_can_wait_for_its_turn(tmp_path: Path) -> None:
    script = (
        "from tailrace import killpoints\n"
        "killpoints.arm('here:3')\n"
        "for turn in range(9):\n"
        "    print(turn, flush=True)\n"
        "    killpoints.reached('there')\n"
        "    killpoints.reached('here')\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (ended.returncode, ended.stdout.split()) == (-9, [b"0", b"1", b"2"])


def test_a_lock_is_held_once_and_freed(tmp_path: Path) -> None:
    held = Files().lock(tmp_path / "lock", "a test")
    with pytest.raises(InUse, match="a test"):
        Files().lock(tmp_path / "lock", "a test")
    held.release()
    Files().lock(tmp_path / "lock", "a test").release()


def test_an_append_file_is_cut_and_goes_on(tmp_path: Path) -> None:
    file = Files().open_append(tmp_path / "log")
    file.write(b"abcdef")
    file.truncate(3)
    file.write(b"x")
    file.sync_data()
    assert file.size() == 4
    file.close()
    assert (tmp_path / "log").read_bytes() == b"abcx"


def test_a_deep_folder_is_made(tmp_path: Path) -> None:
    Files().make_folder(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()


class _Watched(Files):
    def __init__(self) -> None:
        super().__init__()
        self.synced: list[Path] = []

    def sync_folder(self, path: Path) -> None:
        self.synced.append(path)
        super().sync_folder(path)


def test_a_folder_that_a_killed_process_made_is_synced_once_more(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    files = _Watched()
    files.make_folder(tmp_path / "a" / "b")
    assert files.synced == [tmp_path, tmp_path / "a"]
    files.make_folder(tmp_path / "a" / "b")
    assert files.synced == [tmp_path, tmp_path / "a"]
    another = _Watched()
    another.make_folder(tmp_path / "a" / "b")
    assert another.synced == [tmp_path / "a"]


def test_a_folder_that_went_is_made_again(tmp_path: Path) -> None:
    files = Files()
    files.make_folder(tmp_path / "a")
    (tmp_path / "a").rmdir()
    files.make_folder(tmp_path / "a")
    assert (tmp_path / "a").is_dir()


def test_folders_begun_together_are_synced_once_each(tmp_path: Path) -> None:
    root, files = tmp_path / "root", _Watched()
    folders = [root / "1" / "day", root / "2" / "day"]
    (root / "2" / "day").mkdir(parents=True)
    files.make_folder(root)
    files.synced.clear()
    unsynced = [files.begin_folder(folder, root) for folder in folders]
    assert unsynced == [{root / "1", root}, {root / "2", root}]
    assert all(folder.is_dir() for folder in folders)
    assert files.synced == []
    assert files.begin_folder(folders[0], root) == unsynced[0]
    files.folder_synced(folders[0])
    assert files.begin_folder(folders[0], root) == set()
