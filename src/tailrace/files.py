"""The one layer through which every durable write goes.

`Files` is handed down like the clock, so that a test can make a write fail or record every step.
Called by `log`, `archive` and whatever keeps a small file in the data folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path

from tailrace import killpoints
from tailrace.errors import InUse

# Folders known to be durable, so that only the first write into one syncs its parent; a path takes
# some 300 bytes. Beyond this they are looked at again.
FOLDERS_KNOWN_MAX = 20_000

Buffer = bytes | bytearray | memoryview


class AppendFile:
    """A file that is written at its end. One thread at a time."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def write(self, data: Buffer) -> int:
        """Write at the end; return how many bytes the system took, which may be fewer."""
        return os.write(self._descriptor, data)

    def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes; later writes go on from there."""
        os.ftruncate(self._descriptor, size)

    def sync_data(self) -> None:
        """Return once the bytes and the length are on disk. After an error use the file no more."""
        _sync_data(self._descriptor)

    def size(self) -> int:
        """Return the file's length in bytes."""
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Close the file; writes nothing."""
        os.close(self._descriptor)


class Lock:
    """An exclusive lock on a file; the system frees it when the process ends, however it ends."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def is_lost(self) -> bool:
        """Say whether the lock's file went or was replaced, so that another may hold the new one.

        Costs two looks at the file system, no more than a microsecond or two.
        """
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return True
        own = os.fstat(self._descriptor)
        return (there.st_dev, there.st_ino) != (own.st_dev, own.st_ino)

    def release(self) -> None:
        """Give the lock back."""
        os.close(self._descriptor)


class Files:
    """Durable writes on the machine's own file system."""

    def __init__(self) -> None:
        self._made_folders: set[Path] = set()

    def open_append(self, path: Path) -> AppendFile:
        """Open for appending, and create if absent; the caller syncs the folder of a new file."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        return AppendFile(path, descriptor)

    def put_whole(
        self, path: Path, chunks: Iterable[Buffer], *, point: str = "file", mode: int = 0o640
    ) -> int:
        """Make `path` appear with all of `chunks` or not at all; return its size in bytes.

        On return a crash can't lose it. The kill points `{point}.written`, `{point}.renamed` and
        `{point}.durable` lie before the rename, before the folder's sync, and after it.
        """
        temporary = path.with_name(f".{path.name}.tmp")
        size = 0
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        try:
            for chunk in chunks:
                size += self.write_all(descriptor, chunk)
            self.sync_descriptor(descriptor)
        except BaseException:
            os.close(descriptor)
            temporary.unlink(missing_ok=True)
            raise
        os.close(descriptor)
        killpoints.reached(f"{point}.written")
        try:
            self.rename(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        killpoints.reached(f"{point}.renamed")
        self.sync_folder(path.parent)
        killpoints.reached(f"{point}.durable")
        return size

    def put_news(self, path: Path, data: bytes) -> None:
        """Replace a small file that is news, not data: not durable, and never in a reader's way.

        Readers see the old or the new one, never a mix. Where the disk takes none, the old stays:
        news must not end what it is about.
        """
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            temporary.write_bytes(data)
            self.rename(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                self.remove(temporary)

    def write_all(self, descriptor: int, data: Buffer) -> int:
        """Write every byte or raise `OSError`; return their number."""
        view = memoryview(data)
        written = 0
        while written < len(view):
            written += os.write(descriptor, view[written:])
        return written

    def sync_descriptor(self, descriptor: int) -> None:
        """Return once everything written through the descriptor is on disk."""
        _sync_all(descriptor)

    def overwrite(self, path: Path, data: bytes) -> None:
        """Write a small hint in place, at once for other processes, without making it durable."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            os.pwrite(descriptor, data, 0)
        finally:
            os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Rename within one folder; durable only after the folder's sync."""
        source.replace(target)

    def remove(self, path: Path) -> None:
        """Remove a file if it is there; a crash may bring it back."""
        path.unlink(missing_ok=True)

    def make_folder(self, path: Path) -> None:
        """Create a folder and its parents; on return each is durable in its own parent."""
        if path in self._made_folders and path.exists():
            return
        folders = [path, *path.parents]
        missing = [folder for folder in folders if not folder.exists()]
        # A process that was killed may have made the deepest one that is there, and not synced it.
        there = folders[len(missing)] if len(missing) < len(folders) else path
        self.sync_folder(there.parent)
        for folder in reversed(missing):
            folder.mkdir(mode=0o750, exist_ok=True)
            self.sync_folder(folder.parent)
        self.folder_synced(path)

    def begin_folder(self, path: Path, root: Path) -> set[Path]:
        """Create a folder below `root`; return the folders to sync before what it holds counts.

        For many folders that are to become durable together. `root` is made durable here; once
        the syncs are done, `folder_synced` remembers it, and until then each call asks for them.
        """
        if path in self._made_folders and path.exists():
            return set()
        self.make_folder(root)
        # All of them are synced, also those that are there: a process that was killed may have
        # made them.
        below = [path, *path.parents][: len(path.relative_to(root).parts)]
        path.mkdir(mode=0o750, parents=True, exist_ok=True)
        return {folder.parent for folder in below}

    def folder_synced(self, path: Path) -> None:
        """Remember that a folder is durable in its parents."""
        if len(self._made_folders) >= FOLDERS_KNOWN_MAX:
            self._made_folders.clear()
        self._made_folders.add(path)

    def sync_folder(self, path: Path) -> None:
        """Return once the folder's entries are on disk."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _sync_all(descriptor)
        finally:
            os.close(descriptor)

    def lock(self, path: Path, holder: str) -> Lock:
        """Take the exclusive lock of `path` at once or raise `InUse`, naming `holder`."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise InUse(
                f"Cannot start {holder}: another process holds {path}. "
                "Stop it first, or use another data folder."
            ) from error
        return Lock(path, descriptor)

    def free_bytes(self, path: Path) -> int:
        """Return how many bytes an ordinary user may still write on the folder's file system."""
        status = os.statvfs(path)
        return status.f_bavail * status.f_frsize

    def total_bytes(self, path: Path) -> int:
        """Return the size in bytes of the folder's file system."""
        status = os.statvfs(path)
        return status.f_blocks * status.f_frsize


def _sync_all(descriptor: int) -> None:
    # macOS answers fsync before the drive has the bytes; only F_FULLFSYNC waits for them.
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        fcntl.fcntl(descriptor, full)
    else:
        os.fsync(descriptor)


def _sync_data(descriptor: int) -> None:
    if hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        _sync_all(descriptor)
