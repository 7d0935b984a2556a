"""`Evictor`: takes delivered files out of the archive, for age or for want of space.

Driven by the processor's loop. A file with a delivery that is owed is never dropped, nor is one
that nobody was given yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tailrace.archive.folder import FolderArchive
from tailrace.clock import Clock
from tailrace.hours import Hour
from tailrace.seal.disk import DiskLevel, eviction_wanted
from tailrace.settings import ArchiveSettings
from tailrace.state.sealed import SealedFile

# Files looked at in one step: some milliseconds of the loop's time.
FILES_PER_STEP = 50
_DAY_HOURS = 24


class Keeping(Protocol):
    """The ledger as eviction sees it."""

    def removable_files(self, limit: int) -> Sequence[SealedFile]:
        """Return delivered files with no run that is owed, oldest first."""
        ...

    def mark_removed(self, file: SealedFile) -> bool:
        """Note durably that the file goes; False if it may not go any more."""
        ...


class Evictor:
    """Drop files older than `archive.keep_days`, and under the first reserve the oldest ones."""

    def __init__(
        self, archive: FolderArchive, ledger: Keeping, clock: Clock, settings: ArchiveSettings
    ) -> None:
        self._archive = archive
        self._ledger = ledger
        self._clock = clock
        self._settings = settings

    def step(self, level: DiskLevel) -> int:
        """Drop at most `FILES_PER_STEP` files; return how many went, 0 if none has to go now."""
        until = self._until(level)
        if until is None:
            return 0
        dropped = 0
        for file in self._ledger.removable_files(FILES_PER_STEP):
            # Mark first: a manual export that asks for the file in between must not find it owed
            # and gone.
            if file.hour < until and self._ledger.mark_removed(file):
                self._archive.remove_file(file.scope, file.hour, file.name)
                dropped += 1
        return dropped

    def _until(self, level: DiskLevel) -> Hour | None:
        """Return the first hour whose files stay; None if all stay."""
        now = Hour.of_micros(self._clock.now_micros())
        if self._settings.evict and eviction_wanted(level):
            # A destination that becomes active today is owed all of today's hours.
            return now.day_start()
        if self._settings.keep_days > 0:
            return now.plus(-self._settings.keep_days * _DAY_HOURS)
        return None
