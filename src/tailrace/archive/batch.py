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

# Files open at the same time; well below the usual limit of 1,024 descriptors of a process.
OPEN_FILES_MAX = 256
# Syncs at the same time: the disk's cache is flushed once for all that wait.
SYNC_THREADS = 8

T = TypeVar("T")
Fence = Callable[[], AbstractContextManager[None]]


class FileBatch:
    """Files that appear whole or not at all; they count only after `finish`. One thread."""

    def __init__(self, files: Files, root: Path, point: str, fence: Fence = nullcontext) -> None:
        """Write below `root`, whose folders are made as they are needed.

        Files get their names, and those of others are taken away, inside `fence()`, which raises
        where they belong to another now. The kill points are `{point}.written`, `{point}.renamed`
        and `{point}.durable`.
        """
        self._fence = fence
        self._files = files
        self._root = root
        self._point = point
        self._open: list[tuple[int, Path, Path]] = []
        # Parents of folders that were made or found, whose entries may not be on disk.
        self._unsynced: set[Path] = set()
        self._threads: ThreadPoolExecutor | None = None

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
        folders = {path.parent for _, _, path in written}
        self._together(self._files.sync_folder, sorted(folders | self._unsynced))
        self._unsynced.clear()
        for folder in folders:
            self._files.folder_synced(folder)
        killpoints.reached(f"{self._point}.durable")

    def close(self) -> None:
        """Leave nothing of what was written since the last `finish`; write no more."""
        written, self._open = self._open, []
        for descriptor, temporary, _ in written:
            os.close(descriptor)
            self._files.remove(temporary)
        if self._threads is not None:
            self._threads.shutdown()

    def _together(self, sync: Callable[[T], None], things: Sequence[T]) -> None:
        if len(things) <= 1:
            for thing in things:
                sync(thing)
            return
        if self._threads is None:
            self._threads = ThreadPoolExecutor(SYNC_THREADS, "sync")

        def sync_share(number: int) -> None:
            for thing in things[number::SYNC_THREADS]:
                sync(thing)

        # A share each: to hand over every single one would cost more than its sync.
        for _ in self._threads.map(sync_share, range(min(SYNC_THREADS, len(things)))):
            pass

    def _begin(self, temporary: Path) -> int:
        # Never the file that a stalled process may still be writing to: it is taken away first, in
        # the fence, so that the stalled one can't put its own in place of that of its successor.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._unsynced |= self._files.begin_folder(temporary.parent, self._root)
        try:
            return os.open(temporary, flags, 0o640)
        except FileExistsError:
            with self._fence():
                self._files.remove(temporary)
                return os.open(temporary, flags, 0o640)
        except FileNotFoundError:
            # The folder went in between, with the last of its files that was dropped.
            self._unsynced |= self._files.begin_folder(temporary.parent, self._root)
        return os.open(temporary, flags, 0o640)
