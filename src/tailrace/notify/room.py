"""How long the disk has room: free bytes beyond the reserve, at the rate of up to a day.

Called for each mail that says what waits, and by `warnings`.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from sqlalchemy.engine import Connection, Engine

from tailrace.clock import MICROS, Clock
from tailrace.files import Files
from tailrace.notify.amounts import duration, size
from tailrace.seal.disk import Reserve
from tailrace.settings import DiskSettings
from tailrace.state.database import reading, writing
from tailrace.state.room import add_sample, filled_lately, sample_due

_HOUR_SECONDS = 3600
_DAY_SECONDS = 24 * _HOUR_SECONDS

# In less than this nothing shows of how the disk fills: the log grows, and files come at its end.
WATCHED_SECONDS_MIN = _HOUR_SECONDS

# A day that was watched but for so much is called a day.
_UNWATCHED_SECONDS_MAX = _HOUR_SECONDS

# Beyond this nobody plans by it, and disks are replaced sooner.
_YEAR_SECONDS = 365 * _DAY_SECONDS

# A reserve is left again once there is a tenth more, so that one is not mailed of twice an hour.
_CLEARLY = 1.1


class Room(msgspec.Struct, frozen=True):
    """Room on the data folder's disk.

    `usable_bytes` is what is free before uploads get 503, `filled_bytes` by how much the disk has
    filled, negative if it emptied, in the `watched_seconds` of the last 24 hours that there are
    samples of. `reserves_broken` counts the reserves that are broken into, `reserves_near` those
    and the ones that were left by little.
    """

    free_bytes: int
    usable_bytes: int
    filled_bytes: int
    watched_seconds: float
    reserves_broken: int
    reserves_near: int

    @property
    def is_known(self) -> bool:
        """Whether the disk was watched for long enough to tell how long there is room."""
        return self.usable_bytes <= 0 or self.watched_seconds >= WATCHED_SECONDS_MIN

    @property
    def seconds_left(self) -> float | None:
        """How long there is room at that rate; None if the disk does not fill, or not known yet."""
        if self.usable_bytes <= 0:
            return 0.0
        if self.filled_bytes <= 0 or not self.is_known:
            return None
        return self.usable_bytes / self.filled_bytes * self.watched_seconds


class RoomGauge:
    """Look at the disk now and then, and tell how long it has room. `machine` is its clock."""

    def __init__(
        self, engine: Engine, files: Files, path: Path, settings: DiskSettings, machine: Clock
    ) -> None:
        self._engine = engine
        self._files = files
        self._path = path
        self._machine = machine
        self._reserves = (
            Reserve(settings.first_percent, settings.first_bytes),
            Reserve(settings.second_percent, settings.second_bytes),
            Reserve(settings.third_percent, settings.third_bytes),
        )

    def sample(self) -> None:
        """Keep the free bytes of now if the last sample is ten minutes old."""
        now, free = self._machine.now_micros(), self._files.free_bytes(self._path)
        with reading(self._engine) as connection:
            if not sample_due(connection, now):
                return
        with writing(self._engine) as connection:
            add_sample(connection, now, free)

    def room(self, connection: Connection) -> Room:
        """Return the room of now; raises `OSError` if the file system can't be asked."""
        free = self._files.free_bytes(self._path)
        total = self._files.total_bytes(self._path)
        sizes = [reserve.size_bytes(total) for reserve in self._reserves]
        filled = filled_lately(connection, self._machine.now_micros(), free)
        return Room(
            free_bytes=free,
            usable_bytes=free - sizes[1],
            filled_bytes=filled.size_bytes,
            watched_seconds=filled.watched_micros / MICROS,
            reserves_broken=sum(free < reserve for reserve in sizes),
            reserves_near=sum(free < reserve * _CLEARLY for reserve in sizes),
        )


def room_words(room: Room) -> str:
    """Return how long there is room, as mails say it."""
    left = room.seconds_left
    if left == 0:
        return "none: uploads are refused with 503 until there is"
    if not room.is_known:
        return f"{size(room.usable_bytes)}; for how long is not known yet"
    if left is None or left > _YEAR_SECONDS:
        return f"{size(room.usable_bytes)}, and the disk hardly fills"
    return f"for {duration(left)} at the rate of {watched_words(room)}"


def watched_words(room: Room) -> str:
    """Return of what time the rate is, as mails say it: `the last day`, but in the first day."""
    if room.watched_seconds >= _DAY_SECONDS - _UNWATCHED_SECONDS_MAX:
        return "the last day"
    return f"{duration(room.watched_seconds)} of the last day"
