"""Notes who asks for each sync, relaxes SQLite's, or dies just before one; in the traced process.

A sync of the product's own is left out when the trace is played, where it is as if it had not been:
no code can tell. SQLite asks for other syncs when it is relaxed, so that is done for real, as the
environment's `POWERCUT_WITHOUT` says.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

from powercut.service import Disk
from powercut.sites import Finder
from tailrace import files
from tailrace.ids import Ids
from tailrace.state import database, processing
from tailrace.state.processing import ProcessingStore

WITHOUT = "POWERCUT_WITHOUT"

SQLITE = (
    "processing.sqlite synchronous=NORMAL",
    "processing.sqlite synchronous=OFF",
    "tailrace.sqlite synchronous=NORMAL",
    "tailrace.sqlite synchronous=OFF",
)


def note_sites(note: Callable[[str], None]) -> None:
    """Tell `note` the site of each sync, just before it is done by the same thread."""
    finder = Finder()

    def noting(real: Callable[[int], None]) -> Callable[[int], None]:
        def sync(descriptor: int) -> None:
            note(finder.site())
            real(descriptor)

        return sync

    for name in ("_sync_all", "_sync_data"):
        setattr(files, name, noting(getattr(files, name)))


def relax(site: str) -> None:
    """Let SQLite sync less, as one of `SQLITE` says; do nothing for an empty text."""
    name, _, level = site.rpartition(" synchronous=")
    if name == "processing.sqlite":
        _relax_processing(level)
    elif name == "tailrace.sqlite":
        _relax_ledger(level)


def _relax_processing(level: str) -> None:
    real = ProcessingStore.open.__func__  # type: ignore[attr-defined]  # it is a class method

    def opened(cls: type[ProcessingStore], path: Path, ids: Ids) -> ProcessingStore:
        store: ProcessingStore = real(cls, path, ids)
        store.connection.execute(f"PRAGMA synchronous = {level}")
        return store

    processing.ProcessingStore.open = classmethod(opened)  # type: ignore[assignment,method-assign]


def _relax_ledger(level: str) -> None:
    real = database._prepare_connection

    def prepare(connection: sqlite3.Connection, entry: object) -> None:
        real(connection, entry)  # type: ignore[arg-type]  # what the pool hands over
        connection.execute(f"PRAGMA synchronous = {level}")

    database._prepare_connection = prepare  # type: ignore[assignment]


class Wrapped(Disk):
    """The machine's files, with a death and a race that the workload may ask for."""

    def __init__(self) -> None:
        super().__init__()
        self.dies: Callable[[Path], None] = lambda path: None
        self.folders_vanish = 0

    def begin_folder(self, path: Path, root: Path) -> set[Path]:
        """Make a day's folder, which may go at once, as with the last of its files that goes."""
        unsynced = super().begin_folder(path, root)
        if self.folders_vanish and not any(path.iterdir()):
            self.folders_vanish -= 1
            path.rmdir()
        return unsynced

    def sync_folder(self, path: Path) -> None:
        """Sync, unless this is where to die."""
        self.dies(path)
        super().sync_folder(path)


def die_before(wrapped: Wrapped, asked: str, folder: Path | None, count: int) -> None:
    """Die instead of the `count`-th sync of a folder that is asked for at a site like `asked`."""
    finder = Finder()
    left = count

    def dies(path: Path) -> None:
        nonlocal left
        if (folder is None or path == folder) and asked in finder.site():
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    wrapped.dies = dies
