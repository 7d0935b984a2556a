"""Where a collector finds the sealed files that the Export API asks for."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import BinaryIO

from sqlalchemy.engine import Engine

from tailrace.accounts.project_keys import secret_key_is
from tailrace.app.busy import busy_is_transient
from tailrace.archive.folder import FolderArchive, Hold
from tailrace.clock import MICROS, Clock
from tailrace.collect.export_found import (
    Hours,
    Missing,
    NoData,
    NotClosed,
    NotKept,
    NotOver,
    TooMuch,
    Zip,
)
from tailrace.collect.zips import Member, zip_length, zip_pieces
from tailrace.errors import Corrupt
from tailrace.hours import Hour
from tailrace.log.reader import LogReader
from tailrace.state.closed_files import ClosedFile, ClosedHours, closed_hours
from tailrace.state.processing import left_hour
from tailrace.state.processing_view import ProcessingView, Unsettled

# Some hundred bytes each are held while an export runs: a few mebibytes. A year has 8,784 hours,
# and a file or more for each.
FILES_MAX = 20_000


class SealedFiles:
    """The archive's files of closed hours, and what is known of hours that are not closed."""

    def __init__(
        self,
        engine: Engine,
        processing: ProcessingView,
        log_folder: Path,
        archive: FolderArchive,
        clock: Clock,
        *,
        bytes_max: int,
        files_max: int = FILES_MAX,
    ) -> None:
        self._engine = engine
        self._processing = processing
        self._log = LogReader(log_folder)
        self._archive = archive
        self._clock = clock
        self._bytes_max = bytes_max
        self._files_max = files_max

    def present(self) -> Hour:
        """Return the hour that it is now."""
        return Hour.of_micros(self._clock.now_micros())

    def secret_key_is(self, project: int, secret_key: str) -> bool:
        """Tell whether this is the project's secret key."""
        with busy_is_transient():
            return secret_key_is(self._engine, project, secret_key)

    def find(self, project: int, hours: Hours) -> Zip | Missing:
        """Return the zip of a project's hours, or why there is none.

        Raise `Corrupt` where a file is not there that should be.
        """
        # Held first: what the ledger then calls kept can't go any more.
        hold = self._archive.hold_days(project, _dates(hours))
        zipped = None
        try:
            with busy_is_transient():
                # In this order: an hour that is handed over meanwhile is then found closed.
                unsettled = self._processing.unsettled(project, hours.first, hours.last)
                left = self._left(unsettled)
                closed = closed_hours(
                    self._engine, project, hours.first, hours.last, files_max=self._files_max
                )
            first_open = open_hour(hours, closed, unsettled, left)
            missing = self._missing(hours, closed, unsettled, first_open)
            if missing is not None:
                return missing
            through = hours.last if first_open is None else first_open.previous()
            files = [file for file in closed.files if file.hour <= through]
            self._check(project, files)
            zipped = _ZipOfFiles(self._archive, project, files, through, hold)
            return zipped
        finally:
            if zipped is None:
                hold.release()

    def _left(self, unsettled: Unsettled) -> Hour | None:
        """Return the hour that processing has left.

        Listed only after the positions were read, partitions are all that could hold an earlier
        hour: one that is new since then writes what comes after them.
        """
        positions = {row.partition: row.position for row in unsettled.positions}
        stamps = {row.partition: row.stamp for row in unsettled.positions}
        return left_hour(stamps, self._log.partitions(positions))

    def _missing(
        self, hours: Hours, closed: ClosedHours, unsettled: Unsettled, first_open: Hour | None
    ) -> Missing | None:
        if closed.removed:
            return NotKept(hours, closed.removed)
        if closed.size_bytes > self._bytes_max or closed.count > self._files_max:
            return TooMuch(hours, closed.count, self._files_max, closed.size_bytes, self._bytes_max)
        if first_open is not None and first_open < self.present():
            alarmed = unsettled.alarmed is not None and unsettled.alarmed <= first_open
            return NotClosed(hours, first_open, alarmed)
        if closed.count:
            return None
        if first_open is None:
            return NoData(hours)
        left_micros = first_open.end_micros - self._clock.now_micros()
        return NotOver(hours, first_open, max(0, left_micros) // MICROS)

    def _check(self, project: int, files: list[ClosedFile]) -> None:
        for file in files:
            path = self._archive.file_path(project, file.hour, file.name)
            try:
                size = path.stat().st_size
            except FileNotFoundError:
                size = -1
            if size != file.size_bytes:
                reason = "is not there" if size < 0 else f"has {size} bytes, not {file.size_bytes}"
                raise Corrupt(
                    f"Cannot export hour {file.hour}: the sealed file {file.name} {reason}. "
                    "Restore the archive from a backup, or take the hour from a bucket."
                )


def open_hour(
    hours: Hours, closed: ClosedHours, unsettled: Unsettled, left: Hour | None
) -> Hour | None:
    """Return the first hour of the range that may still get files; None if none may.

    Closed are those that the ledger has as sealed, and of those that processing has left the ones
    in which nothing is on its way: they are empty for good.
    """
    for hour in Hour.range(hours.first, hours.last.next()):
        empty = left is not None and hour <= left and hour not in unsettled.hours
        if not empty and hour not in closed.sealed:
            return hour
    return None


class _ZipOfFiles:
    """One zip, read once."""

    def __init__(
        self,
        archive: FolderArchive,
        project: int,
        files: list[ClosedFile],
        through: Hour,
        hold: Hold,
    ) -> None:
        members = [_member(project, file) for file in files]
        by_name = {member.name: file for member, file in zip(members, files, strict=True)}
        self.through = through
        self.length = zip_length(members)
        self._pieces = zip_pieces(members, partial(_open, archive, project, by_name))
        self._hold = hold
        self._one_at_a_time = threading.Lock()

    def read(self) -> bytes:
        """Return the next bytes, or none at the end."""
        with self._one_at_a_time:
            return next(self._pieces, b"")

    def close(self) -> None:
        """Let the files go."""
        with self._one_at_a_time:
            self._pieces.close()
            self._hold.release()


def _member(project: int, file: ClosedFile) -> Member:
    return Member(f"{project}/{file.name}", file.size_bytes, file.crc32, file.hour.start)


def _open(
    archive: FolderArchive, project: int, files: Mapping[str, ClosedFile], member: Member
) -> BinaryIO:
    file = files[member.name]
    return archive.open_file(project, file.hour, file.name)


def _dates(hours: Hours) -> list[str]:
    days = range(hours.first.day_start().number, hours.last.number + 1, 24)
    return [Hour(number).date for number in days]
