"""`SharedClock`: one clock for several processes, whose hand is in the measuring one.

A real hour is too long for a measure, so its quiet stretches are played in steps. What is told of
the end of an hour always runs at the pace of the machine's clock.
"""

from __future__ import annotations

import mmap
import struct
import time
from pathlib import Path

_NUMBER = struct.Struct("<q")
# The moment shown while the clock stands, what to add to the machine's time while it runs (0:
# it stands), and the moment at which it was made.
_STANDING, _OFFSET, _ORIGIN = 0, 8, 16
_SIZE = 24


class SharedClock:
    """A clock in a file that is mapped by all who read it; each number is written at once."""

    def __init__(self, path: Path) -> None:
        """Open a clock that `make` made."""
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _SIZE)
        self._origin = self._number(_ORIGIN)

    @classmethod
    def make(cls, path: Path, now_micros: int) -> SharedClock:
        """Make a clock that stands at a moment."""
        path.write_bytes(_NUMBER.pack(now_micros) + _NUMBER.pack(0) + _NUMBER.pack(now_micros))
        return cls(path)

    def now_micros(self) -> int:
        """Return the time to which it was moved, or has run."""
        offset = self._number(_OFFSET)
        return machine_micros() + offset if offset else self._number(_STANDING)

    def steady_micros(self) -> int:
        """Return the time since it was made: as much passes as on the wall."""
        return self.now_micros() - self._origin

    def move_to(self, now_micros: int) -> None:
        """Stand at a later moment."""
        _NUMBER.pack_into(self._memory, _STANDING, now_micros)
        _NUMBER.pack_into(self._memory, _OFFSET, 0)

    def run(self) -> None:
        """Go on from here at the pace of the machine's clock."""
        _NUMBER.pack_into(self._memory, _OFFSET, self.now_micros() - machine_micros())

    def stand(self) -> None:
        """Stop where it is."""
        self.move_to(self.now_micros())

    def sleep_until(self, moment_micros: int) -> None:
        """Wait until a running clock shows a moment."""
        while (left := moment_micros - self.now_micros()) > 0:
            time.sleep(left / 1e6)

    def _number(self, at: int) -> int:
        return int(_NUMBER.unpack_from(self._memory, at)[0])


def machine_micros() -> int:
    """Return the machine's steady time, which all its processes share."""
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)) // 1000
