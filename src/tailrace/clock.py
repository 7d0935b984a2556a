"""The clock port: event time, hours and schedules follow it; nothing else reads the time.

Request signing, TLS, leases and time-outs follow the machine's own clock instead.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

MICROS = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Linux counts suspended time only in CLOCK_BOOTTIME; elsewhere the monotonic clock counts it.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """Wall time, and a steady time to check it against. Both in microseconds."""

    def now_micros(self) -> int:
        """Return microseconds since 1970-01-01 UTC; may step in either direction."""
        ...

    def steady_micros(self) -> int:
        """Return microseconds since some start; never steps, and counts suspended time."""
        ...


class SystemClock:
    """The machine's clock, moved by a fixed offset (microseconds)."""

    def __init__(self, offset_micros: int = 0) -> None:
        self.offset_micros = offset_micros

    def now_micros(self) -> int:
        """Return the machine's wall time plus the offset."""
        return time.time_ns() // 1000 + self.offset_micros

    def steady_micros(self) -> int:
        """Return the machine's steady time."""
        return time.clock_gettime_ns(_STEADY) // 1000


class SteppedClock:
    """A clock that moves only when told, for tests and for making past hours."""

    def __init__(self, now_micros: int, steady_micros: int = 0) -> None:
        self._now = now_micros
        self._steady = steady_micros

    def now_micros(self) -> int:
        """Return the time it was last set to."""
        return self._now

    def steady_micros(self) -> int:
        """Return the steady time it was last moved to."""
        return self._steady

    def advance(self, micros: int) -> None:
        """Let time pass on both clocks, as running or suspended time does."""
        self._now += micros
        self._steady += micros

    def step(self, micros: int) -> None:
        """Set the wall clock forward or back while no time passes."""
        self._now += micros


def to_datetime(micros: int) -> datetime:
    """Return microseconds since the epoch as an aware UTC datetime."""
    return _EPOCH + timedelta(microseconds=micros)


def to_micros(moment: datetime) -> int:
    """Return an aware datetime as microseconds since the epoch, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
