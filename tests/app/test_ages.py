"""Parts of the data folder that are of different age are refused, whatever was copied back."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from pathlib import Path

import pytest

from tailrace.app.ages import Aged, aged_parts, renew
from tailrace.errors import Corrupt, NeedsOperator
from tailrace.files import Files
from tailrace.folder import DataFolder
from tailrace.ids import SystemIds
from tailrace.state.ages import Age, FolderAge
from tailrace.state.database import open_database

PARTS = ("log", "processing.sqlite", "tailrace.sqlite")


class Crash(Exception):
    """The process ends."""


class Cut:
    """A part before whose n-th write the process ends."""

    writes_left = 0

    def __init__(self, part: Aged) -> None:
        self._part = part
        self.path = part.path

    def read(self) -> Age | None:
        return self._part.read()

    def write(self, age: Age) -> None:
        if not Cut.writes_left:
            raise Crash
        Cut.writes_left -= 1
        self._part.write(age)


class Unsynced(Files):
    """Real files whose syncs are left out: a killed process loses nothing that it wrote."""

    def sync_descriptor(self, descriptor: int) -> None:
        """Wait for nothing."""

    def sync_folder(self, path: Path) -> None:
        """Wait for nothing."""


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    folder = DataFolder(tmp_path / "data")
    folder.create(Files())
    open_database(folder.database).dispose()
    return folder


def start(folder: DataFolder) -> None:
    """Do what a start of the service does with ages."""
    engine = open_database(folder.database)
    try:
        renew(aged_parts(folder, engine, Files()), SystemIds())
    finally:
        engine.dispose()


def copy(source: Path, target: Path, name: str) -> None:
    for old in target.glob(f"{name}*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    for path in source.glob(f"{name}*"):
        copied = target / path.name
        shutil.copytree(path, copied) if path.is_dir() else shutil.copy2(path, copied)


@pytest.mark.parametrize("starts", [0, 1])
@pytest.mark.parametrize(
    "older", [c for n in (1, 2) for c in itertools.combinations(PARTS, n)], ids="+".join
)
def test_parts_of_an_older_copy_are_refused_and_nothing_is_changed(
    folder: DataFolder, tmp_path: Path, older: tuple[str, ...], starts: int
) -> None:
    for _ in range(starts):
        start(folder)
    shutil.copytree(folder.path, tmp_path / "copy")
    start(folder)
    for name in older:
        copy(tmp_path / "copy", folder.path, name)

    for _ in range(2):
        with pytest.raises(NeedsOperator, match="Restore the whole data folder from one backup"):
            start(folder)


def test_a_whole_older_copy_is_taken(folder: DataFolder, tmp_path: Path) -> None:
    start(folder)
    shutil.copytree(folder.path, tmp_path / "copy")
    start(folder)
    for name in PARTS:
        copy(tmp_path / "copy", folder.path, name)
    start(folder)
    start(folder)


@pytest.mark.slow  # seventy starts that are cut short twice
@pytest.mark.parametrize("starts", [0, 1])
def test_starts_that_are_cut_short_leave_parts_of_one_age(tmp_path: Path, starts: int) -> None:
    parts = [Cut(FolderAge(tmp_path / name, Unsynced())) for name in PARTS]

    def cut_after(writes: int) -> None:
        Cut.writes_left = writes
        with contextlib.suppress(Crash):
            renew(parts, SystemIds())

    # A start writes six times, and one that follows a cut nine times.
    for first, second in itertools.product(range(7), range(10)):
        for part in parts[: 3 * (1 - starts)]:
            (tmp_path / Path(str(part.path)).name / "age.json").unlink(missing_ok=True)
        cut_after(first)
        cut_after(second)
        Cut.writes_left = 9
        renew(parts, SystemIds())
        assert len({part.read() for part in parts}) == 1


def test_a_damaged_age_is_named(folder: DataFolder) -> None:
    start(folder)
    (folder.log / "age.json").write_text("{")
    with pytest.raises(Corrupt, match=r"age\.json can't be read"):
        start(folder)
