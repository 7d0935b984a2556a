"""`Evictor`: takes delivered files out of the archive, for age or for want of space.

Driven by the processor's loop. A file with a delivery that is owed is never dropped, nor is one
that nobody was given yet, nor one that is being read by an export.
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

# Files looked at in one step: some milliseconds of the loop's time. Those that somebody reads just
# now are passed over, up to this many times as many.
FILES_PER_STEP = 50
PAGES_PER_STEP = 10
_DAY_HOURS = 24


class Keeping(Protocol):
    """The ledger as eviction sees it."""

    def removable_files(self, limit: int, after: SealedFile | None = None) -> Sequence[SealedFile]:
        """Return delivered files with no run that is owed, oldest first, those behind `after`."""
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
        # Where the look goes on behind files that are held; None begins with the oldest.
        self._after: SealedFile | None = None

    def step(self, level: DiskLevel) -> int:
        """Drop at most `FILES_PER_STEP` files; return how many went, 0 if none has to go now."""
        until = self._until(level)
        if until is None:
            return 0
        for _ in range(PAGES_PER_STEP):
            files = self._ledger.removable_files(FILES_PER_STEP, self._after)
            due = [file for file in files if file.hour < until]
            gone = [self._drop(file) for file in due]
            self._after = due[-1] if len(due) == FILES_PER_STEP and not all(gone) else None
            if any(gone) or self._after is None:
                return sum(gone)
        return 0

    def _drop(self, file: SealedFile) -> bool:
        """Drop a file unless it is owed again, or an export reads it."""
        with self._archive.unless_held(file.scope, file.hour) as alone:
            # Mark first: a manual export that asks for the file in between must not find it owed
            # and gone.
            if not alone or not self._ledger.mark_removed(file):
                return False
            self._archive.remove_file(file.scope, file.hour, file.name)
            return True

    def _until(self, level: DiskLevel) -> Hour | None:
        """Return the first hour whose files stay; None if all stay."""
        now = Hour.of_micros(self._clock.now_micros())
        if self._settings.evict and eviction_wanted(level):
            # A destination that becomes active today is owed all of today's hours.
            return now.day_start()
        if self._settings.keep_days > 0:
            return now.plus(-self._settings.keep_days * _DAY_HOURS)
        return None
