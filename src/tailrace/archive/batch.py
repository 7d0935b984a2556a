"""`FileBatch`: many files that become durable together, for the price of few syncs.

Called by the archive. Thousands of quiet projects get a small file each at the same moment; syncs
that wait together let the file system write its journal, and the disk its cache, once for many.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TypeVar

from tailrace import killpoints
from tailrace.files import Buffer, Files

# Files open at the same time; far below the usual limit of 1,024 descriptors of a process.
OPEN_FILES_MAX = 64
# Syncs at the same time: the disk's cache is flushed once for all that wait.
SYNC_THREADS = 8

T = TypeVar("T")
Fence = Callable[[], AbstractContextManager[None]]


class FileBatch:
    """Files that appear whole or not at all; they count only after `finish`. One thread."""

    def __init__(self, files: Files, point: str, fence: Fence = nullcontext) -> None:
        """Name the kill points `{point}.written`, `{point}.renamed` and `{point}.durable`.

        Files get their names inside `fence()`, which raises where they belong to another now.
        """
        self._fence = fence
        self._files = files
        self._point = point
        self._open: list[tuple[int, Path, Path]] = []

    def write(self, path: Path, chunks: Iterable[Buffer]) -> int:
        """Write all of `chunks` under a temporary name beside `path`; return their size in bytes.

        Whatever `chunks` raises leaves nothing of this file, and the others as they are.
        """
        if len(self._open) >= OPEN_FILES_MAX:
            self.finish()
        temporary = path.with_name(f".{path.name}.tmp")
        descriptor = self._begin(temporary)
        size = 0
        try:
            for chunk in chunks:
                size += self._files.write_all(descriptor, chunk)
        except BaseException:
            os.close(descriptor)
            self._files.remove(temporary)
            raise
        self._open.append((descriptor, temporary, path))
        return size

    def finish(self) -> None:
        """Return once every file that was written is on disk under its own name.

        Raises `OSError` where the disk failed: then none of them counts.
        """
        written, self._open = self._open, []
        try:
            self._together(self._files.sync_descriptor, [entry[0] for entry in written])
        except OSError:
            for _, temporary, _ in written:
                self._files.remove(temporary)
            raise
        finally:
            for descriptor, _, _ in written:
                os.close(descriptor)
        killpoints.reached(f"{self._point}.written")
        with self._fence():
            for _, temporary, path in written:
                self._files.rename(temporary, path)
        killpoints.reached(f"{self._point}.renamed")
        self._together(self._files.sync_folder, sorted({path.parent for _, _, path in written}))
        killpoints.reached(f"{self._point}.durable")

    def discard(self) -> None:
        """Leave nothing of what was written since the last `finish`."""
        written, self._open = self._open, []
        for descriptor, temporary, _ in written:
            os.close(descriptor)
            self._files.remove(temporary)

    def _together(self, sync: Callable[[T], None], things: Sequence[T]) -> None:
        if len(things) <= 1:
            for thing in things:
                sync(thing)
            return
        with ThreadPoolExecutor(min(SYNC_THREADS, len(things)), "sync") as threads:
            for _ in threads.map(sync, things):
                pass

    def _begin(self, temporary: Path) -> int:
        # Never the file that a stalled process may still be writing to: it is taken away first.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._files.make_folder(temporary.parent)
        try:
            return os.open(temporary, flags, 0o640)
        except FileExistsError:
            self._files.remove(temporary)
        except FileNotFoundError:
            # The folder went in between, with the last of its files that was dropped.
            self._files.make_folder(temporary.parent)
        return os.open(temporary, flags, 0o640)
