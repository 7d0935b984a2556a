"""Leaves one sync out of the product, or dies just before one; in the traced process alone.

The environment's `POWERCUT_WITHOUT` names the site, or one of `SQLITE`.
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


def leave_out(site: str, note: Callable[[str], None]) -> None:
    """Leave the syncs of a site out from now on; tell `note` the site of each sync asked for."""
    finder = Finder()
    real_all, real_data = files._sync_all, files._sync_data

    def unless_left_out(real: Callable[[int], None]) -> Callable[[int], None]:
        def sync(descriptor: int) -> None:
            asked = finder.site()
            note(asked)
            if asked != site:
                real(descriptor)

        return sync

    for name, real in (("_sync_all", real_all), ("_sync_data", real_data)):
        setattr(files, name, unless_left_out(real))
    if site in SQLITE:
        name, _, level = site.rpartition(" synchronous=")
        (_relax_processing if name == "processing.sqlite" else _relax_ledger)(level)


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
