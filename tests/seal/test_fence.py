"""A processor that stands still while another takes over replaces none of its files.

The folder's lock keeps the two apart; here it was deleted, or never held on this file system.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tailrace.errors import InUse
from tailrace.files import Buffer, Files
from tailrace.hours import Hour

if TYPE_CHECKING:
    from tests.seal.conftest import MakeWorld, World

HOUR = Hour.parse("2026-11-23T13")


class Stalling(Files):
    """Stand still before the named call, once, until the test goes on."""

    def __init__(self, call: str) -> None:
        super().__init__()
        self._call = call
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def _stall(self, call: str) -> None:
        if call == self._call and not self.reached.is_set():
            self.reached.set()
            assert self.go_on.wait(30)

    def write_all(self, descriptor: int, data: Buffer) -> int:
        self._stall("write")
        return super().write_all(descriptor, data)

    def sync_descriptor(self, descriptor: int) -> None:
        self._stall("sync")

    def sync_folder(self, path: Path) -> None:
        self._stall("folder")

    def rename(self, source: Path, target: Path) -> None:
        self._stall("rename")
        super().rename(source, target)


def begin_file(world: World, files: Stalling) -> None:
    """Commit a chunk that fills a file, and return when making it stands still."""
    files.reached.set()
    world.commit(HOUR, {world.project: [["first" * 100]]})
    files.reached.clear()
    assert world.closer.step()
    assert files.reached.wait(30)


@pytest.mark.parametrize("call", ["write", "sync"])
def test_a_stalled_join_replaces_no_file_of_the_next_processor(
    make_world: MakeWorld, call: str
) -> None:
    files = Stalling(call)
    stalled = make_world(partition_bytes=10, files=files)
    begin_file(stalled, files)

    # The next one knows one chunk more, and makes a longer file of the same name.
    after = make_world()
    after.commit(HOUR, {after.project: [["second"]]})
    after.seal(HOUR)
    (file,) = after.sealed(after.project, HOUR).files

    files.go_on.set()
    with pytest.raises(InUse, match="Another processor took over"):
        stalled.closer.finish()
    data = after.archive.file_path(file.scope, file.hour, file.name).read_bytes()
    assert hashlib.sha256(data).hexdigest() == file.sha256
    assert after.texts(after.project, HOUR) == ["first" * 100, "second"]


def test_while_a_file_gets_its_name_no_other_processor_starts(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Stalling("rename")
    stalled = make_world(partition_bytes=10, files=files)
    begin_file(stalled, files)

    monkeypatch.setattr("tailrace.state.processing.BUSY_SECONDS", 0.1)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        make_world()

    files.go_on.set()
    stalled.seal(HOUR)
    assert stalled.texts(stalled.project, HOUR) == ["first" * 100]
