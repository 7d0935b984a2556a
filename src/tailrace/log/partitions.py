"""The list of partitions: who writes, so that a silent one is never left out of reckoning.

`log/partitions` is a JSON list, changed only under a lock. Called by the writer, the reader, and
whoever takes a collector away for good.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import msgspec

from tailrace.errors import BadRequest, Corrupt, NeedsOperator, NewerFormat
from tailrace.files import Files
from tailrace.log.end import End, EndWatch

PARTITIONS_FILE = "partitions"
PARTITIONS_VERSION = 1
_LOCK_FILE = "partitions.lock"


class PartitionRetired(NeedsOperator):
    """The partition has its final entry and takes no more."""


class Partition(msgspec.Struct, frozen=True, omit_defaults=True):
    """One listed partition. `retired` is where its log ended for ever, if it did."""

    id: int
    retired: End | None = None


class _Content(msgspec.Struct, frozen=True):
    version: int
    partitions: list[Partition]


_decode = msgspec.json.Decoder(_Content).decode


def partition_folder(log_folder: Path, partition: int) -> Path:
    """Return the folder of a partition's segments."""
    return log_folder / str(partition)


def list_partitions(log_folder: Path) -> list[Partition]:
    """Return all partitions that ever were, by ID; none before the first collector's start."""
    path = log_folder / PARTITIONS_FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    try:
        content = _decode(data)
    except msgspec.MsgspecError as error:
        raise Corrupt(
            f"Cannot read the list of collectors {path}: {error}. Restore it from a backup."
        ) from error
    if content.version > PARTITIONS_VERSION:
        raise NewerFormat(
            f"{path} has format {content.version}; this release knows formats up to "
            f"{PARTITIONS_VERSION}. Start the newer release again."
        )
    return content.partitions


def usable_partitions(log_folder: Path, count: int) -> list[int]:
    """Return the `count` lowest numbers under which collectors may write: no retired ones."""
    retired = {listed.id for listed in list_partitions(log_folder) if listed.retired is not None}
    usable = (number for number in range(1, count + len(retired) + 1) if number not in retired)
    return list(islice(usable, count))


def register_partition(log_folder: Path, partition: int, files: Files) -> None:
    """List a partition; on return no reader that looks can miss it, whatever happens.

    Raise `PartitionRetired` if its final entry was written.
    """
    if partition < 1:
        raise BadRequest(f"{partition} is no partition of the log: they are numbered from 1.")
    files.make_folder(log_folder)
    with _changing(log_folder):
        partitions = list_partitions(log_folder)
        for listed in partitions:
            if listed.id == partition and listed.retired is not None:
                raise retired_error(partition)
            if listed.id == partition:
                return
        _store(log_folder, [*partitions, Partition(partition)], files)


def mark_retired(log_folder: Path, partition: int, end: End, files: Files) -> None:
    """Note that a partition ended for ever at `end`; doing it again changes nothing."""
    with _changing(log_folder):
        partitions = list_partitions(log_folder)
        marked = [Partition(partition, end) if p.id == partition else p for p in partitions]
        if marked != partitions:
            _store(log_folder, marked, files)


def retired_error(partition: int) -> PartitionRetired:
    """Return the error for a collector that was taken away for good and starts again."""
    return PartitionRetired(
        f"Cannot write to partition {partition} of the log: it was retired. "
        "Start this collector with a partition number that was never used."
    )


@contextmanager
def _changing(log_folder: Path) -> Iterator[None]:
    # Waiting is safe: the lock is held for one small file's write and freed with the process.
    descriptor = os.open(log_folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _store(log_folder: Path, partitions: Sequence[Partition], files: Files) -> None:
    ordered = sorted(partitions, key=lambda listed: listed.id)
    data = msgspec.json.encode(_Content(PARTITIONS_VERSION, ordered))
    files.put_whole(log_folder / PARTITIONS_FILE, [data], point="partitions")


class Siblings:
    """The other partitions' ends, which a writer's stamps must pass.

    A record that a client sends after another's 200 then has the later stamp, whichever
    collectors took the two, even while the machine's clock is wrong; and a new partition begins
    after every hour that is already closed.
    """

    def __init__(self, log_folder: Path, partition: int) -> None:
        self._log_folder = log_folder
        self._partition = partition
        self._seen: tuple[int, int] | None = None
        self._watches: dict[int, EndWatch] = {}

    def highest_stamp(self) -> int:
        """Return the highest stamp that another partition has published; 0 if none has."""
        status = (self._log_folder / PARTITIONS_FILE).stat()
        seen = (status.st_ino, status.st_mtime_ns)
        if seen != self._seen:
            for listed in list_partitions(self._log_folder):
                if listed.id != self._partition and listed.id not in self._watches:
                    folder = partition_folder(self._log_folder, listed.id)
                    self._watches[listed.id] = EndWatch(folder)
            self._seen = seen
        highest = 0
        for watch in self._watches.values():
            end = watch.read()
            if end is not None:
                highest = max(highest, end.stamp)
        return highest

    def close(self) -> None:
        """Close the files."""
        for watch in self._watches.values():
            watch.close()
