"""Prepare a file that several processes may start on at once: one at a time, for them alone."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """Hold the lock file beside `path`; wait for another holder, who takes a moment.

    The system frees the lock when its holder ends, however it ends, so no time-out is needed.
    """
    descriptor = os.open(
        path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640
    )
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def make_private(database: Path) -> None:
    """Make an empty database that other users of the machine can't read, if there is none.

    SQLite would let them; it gives the files beside a database the mode of the database.
    """
    try:
        os.close(os.open(database, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))
    except FileExistsError:
        # It is left as its owner made it; opening it here would drop locks of this process.
        return
