"""Three reserves of free disk space, and what each of them forbids.

The processor's loop and the collectors ask before they write. What was answered with 200 has to
stay on disk and get out, so appends stop first and deliveries never do.
"""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path

import msgspec

from tailrace.clock import MICROS, Clock
from tailrace.files import Files
from tailrace.settings import DiskSettings

# One look at the file system serves this long: at a gigabyte a second less than the reserves.
LOOK_MICROS = 1 * MICROS


class DiskLevel(IntEnum):
    """How many reserves are broken into."""

    FREE = 0
    FIRST = 1
    SECOND = 2
    THIRD = 3


class Reserve(msgspec.Struct, frozen=True):
    """Space to keep free: a percentage of the file system or bytes, whichever is smaller."""

    percent: float
    bytes: int

    def size_bytes(self, total_bytes: int) -> int:
        """Return the reserve on a file system of this size."""
        return min(int(total_bytes * self.percent / 100), self.bytes)


class DiskGuard:
    """Tell the level of the file system that holds the data folder, at most a second old."""

    def __init__(
        self, files: Files, path: Path, clock: Clock, reserves: tuple[Reserve, Reserve, Reserve]
    ) -> None:
        self._files = files
        self._path = path
        self._clock = clock
        self._reserves = reserves
        self._looked_micros: int | None = None
        self._level = DiskLevel.FREE

    @classmethod
    def of_settings(
        cls, files: Files, path: Path, clock: Clock, settings: DiskSettings
    ) -> DiskGuard:
        """Guard a folder with the reserves `disk.*`."""
        reserves = (
            Reserve(settings.first_percent, settings.first_bytes),
            Reserve(settings.second_percent, settings.second_bytes),
            Reserve(settings.third_percent, settings.third_bytes),
        )
        return cls(files, path, clock, reserves)

    def level(self) -> DiskLevel:
        """Return the level now; raises `OSError` if the file system can't be asked."""
        now = self._clock.steady_micros()
        if self._looked_micros is None or now - self._looked_micros >= LOOK_MICROS:
            self._level = self._look()
            self._looked_micros = now
        return self._level

    def _look(self) -> DiskLevel:
        free = self._files.free_bytes(self._path)
        total = self._files.total_bytes(self._path)
        broken = sum(free < reserve.size_bytes(total) for reserve in self._reserves)
        return DiskLevel(broken)


def appends_allowed(level: DiskLevel) -> bool:
    """Whether uploads are taken on; under the second reserve they get 503."""
    return level < DiskLevel.SECOND


def ticks_allowed(level: DiskLevel) -> bool:
    """Whether the log still says that an hour is over."""
    return level < DiskLevel.THIRD


def checkpoints_allowed(level: DiskLevel) -> bool:
    """Whether packs and checkpoints are written."""
    return level < DiskLevel.THIRD


def sealing_allowed(level: DiskLevel) -> bool:
    """Whether files are made and hours sealed."""
    return level < DiskLevel.THIRD


def eviction_wanted(level: DiskLevel) -> bool:
    """Whether delivered files go, oldest first, if `archive.evict` is on."""
    return level >= DiskLevel.FIRST
