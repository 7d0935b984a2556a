"""The archive on the machine's own disk: packs of chunks, and sealed files for good.

`process` puts packs, `seal` reads them and puts sealed files, `export` reads sealed files.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

from tailrace.archive.batch import Fence, FileBatch
from tailrace.errors import Corrupt, NewerFormat
from tailrace.files import Buffer, Files
from tailrace.hours import Hour

# Every pack begins with this header, its last byte is the format's version. Offsets of chunks count
# from the file's first byte, so the first chunk of a pack lies at `len(PACK_HEADER)`.
PACK_FORMAT = 1
_PACK_MAGIC = b"tr-pack"
PACK_HEADER = _PACK_MAGIC + bytes([PACK_FORMAT])

# Days that are held one by one; of a longer range the whole scope is, with a single descriptor.
DAYS_HELD_MAX = 31

_PACK_NAME = re.compile(r"[0-9]{8,}-[0-9]{8,}\.pack")
# What a process leaves that dies while it writes a pack; no later one takes the name again.
_PACK_TEMPORARY = re.compile(r"\.([0-9]{8,})-[0-9]{8,}\.pack\.tmp")


def pack_name(epoch: int, sequence: int) -> str:
    """Return the name of a pack; the epoch is drawn at each start, so no name is used twice."""
    return f"{epoch:08d}-{sequence:08d}.pack"


def pack_epoch(name: str) -> int:
    """Return the epoch in which a pack was made."""
    return int(name.partition("-")[0])


class FolderArchive:
    """Packs in one folder, sealed files in `{archive}/{scope}/{yyyy-MM-dd}/{file}`.

    Whatever a `put_…` returned for is on disk, whole; a crash can't lose it. Any thread may call.
    """

    def __init__(self, packs: Path, archive: Path, files: Files) -> None:
        self._packs = packs
        self._archive = archive
        self._files = files

    def put_pack(self, name: str, chunks: Iterable[Buffer]) -> int:
        """Write the header and `chunks` as a whole pack; return its size in bytes.

        The kill points are `pack.written`, `pack.renamed` and `pack.durable`.
        """
        self._files.make_folder(self._packs)
        return self._files.put_whole(self._packs / name, _with_header(chunks), point="pack")

    def read_pack(self, name: str, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset` of the file; raise `Corrupt` where it is too short.

        Raises `NewerFormat` for a pack of a later release.
        """
        path = self._packs / name
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise Corrupt(
                f"Cannot read the pack {path}: it is gone, though its lines are still needed. "
                "Restore the data folder from a backup."
            ) from error
        try:
            _check_header(path, os.pread(descriptor, len(PACK_HEADER), 0))
            data = os.pread(descriptor, length, offset)
        finally:
            os.close(descriptor)
        if len(data) != length:
            raise Corrupt(
                f"Cannot read the pack {path}: it ends {length - len(data)} bytes before the end "
                f"of a chunk at {offset}. Restore the data folder from a backup."
            )
        return data

    def pack_names(self) -> list[str]:
        """Return the names of all whole packs, oldest epoch first."""
        if not self._packs.exists():
            return []
        names = (path.name for path in self._packs.iterdir())
        return sorted(name for name in names if _PACK_NAME.fullmatch(name))

    def remove_pack(self, name: str) -> None:
        """Remove a pack that no chunk row names; one that is gone is fine."""
        self._files.remove(self._packs / name)

    def remove_unfinished_packs(self, before_epoch: int) -> None:
        """Remove what processes of earlier epochs left that died while they wrote a pack."""
        if not self._packs.exists():
            return
        for path in list(self._packs.iterdir()):
            found = _PACK_TEMPORARY.fullmatch(path.name)
            if found is not None and int(found[1]) < before_epoch:
                self._files.remove(path)

    def put_file(self, scope: int, hour: Hour, name: str, chunks: Iterable[Buffer]) -> int:
        """Write a sealed file whole, replacing a crash's left-over; return its size in bytes."""
        with self.new_files() as batch:
            return batch.write(self.file_path(scope, hour, name), chunks)

    @contextmanager
    def new_files(self, fence: Fence = nullcontext) -> Iterator[FileBatch]:
        """Put many sealed files, each under its `file_path`; durable when the block ends.

        They get their names inside `fence()`, so that whoever may no longer do that replaces none.
        The kill points are `seal.file.written`, `seal.file.renamed` and `seal.file.durable`.
        """
        batch = FileBatch(self._files, self._archive, "seal.file", fence)
        try:
            yield batch
            batch.finish()
        finally:
            batch.close()

    def file_path(self, scope: int, hour: Hour, name: str) -> Path:
        """Return where a sealed file of this name lies, whether or not it is there."""
        return self._archive / str(scope) / hour.date / name

    def open_file(self, scope: int, hour: Hour, name: str) -> BinaryIO:
        """Open a sealed file for reading; raise `FileNotFoundError` if the archive dropped it."""
        return self.file_path(scope, hour, name).open("rb")

    def hold_days(self, scope: int, dates: Sequence[str]) -> Hold:
        """Let no sealed file of these days go until the hold is released, or the process ends.

        A file that the archive drops just now is gone on return: ask only then which are there.
        Raise `OSError` where no file can be opened any more.
        """
        folders = [self._archive / str(scope) / date for date in dates]
        if len(folders) > DAYS_HELD_MAX:
            folders = [self._archive / str(scope)]
        hold = Hold()
        try:
            for folder in folders:
                hold.add(folder)
        except BaseException:
            hold.release()
            raise
        return hold

    @contextmanager
    def unless_held(self, scope: int, hour: Hour) -> Iterator[bool]:
        """Give False if somebody holds the hour's day; else nobody can while the block runs."""
        day = self._archive / str(scope) / hour.date
        with _alone(day.parent) as whole, _alone(day) as one:
            yield whole and one

    def remove_file(self, scope: int, hour: Hour, name: str) -> None:
        """Remove a sealed file, and its day's folder with the last one; absent is fine."""
        path = self.file_path(scope, hour, name)
        self._files.remove(path)
        try:
            path.parent.rmdir()
        except OSError:
            # Other files of the day are still there, or the folder went with an earlier call.
            return


class Hold:
    """Shared locks on folders; the system takes them back from a process that dies."""

    def __init__(self) -> None:
        self._descriptors: list[int] = []

    def add(self, folder: Path) -> None:
        """Hold one more folder; one that is not there has nothing that could go."""
        descriptor = _open_folder(folder)
        if descriptor is not None:
            self._descriptors.append(descriptor)
            # Waiting is safe: whoever drops files locks a day for a single one at a time.
            fcntl.flock(descriptor, fcntl.LOCK_SH)

    def release(self) -> None:
        """Let go of all; a second time does nothing."""
        while self._descriptors:
            os.close(self._descriptors.pop())


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Give whether nobody holds the folder, and let nobody hold it meanwhile."""
    descriptor = _open_folder(folder)
    if descriptor is None:
        yield True
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _open_folder(folder: Path) -> int | None:
    try:
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def _with_header(chunks: Iterable[Buffer]) -> Iterator[Buffer]:
    yield PACK_HEADER
    yield from chunks


def _check_header(path: Path, header: bytes) -> None:
    if header == PACK_HEADER:
        return
    if header[:-1] == _PACK_MAGIC and header[-1] > PACK_FORMAT:
        raise NewerFormat(
            f"Cannot read the pack {path}: its format is {header[-1]}, this release knows "
            f"{PACK_FORMAT}. Start the newer release that wrote it."
        )
    raise Corrupt(
        f"Cannot read the pack {path}: it does not begin as a pack does. "
        "Restore the data folder from a backup."
    )
