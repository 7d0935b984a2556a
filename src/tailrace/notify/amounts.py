"""How mails, and commands as they do, write times, durations, counts and sizes."""

from __future__ import annotations

from collections.abc import Collection

from tailrace.clock import MICROS, to_datetime

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_UNITS = ("byte", "kB", "MB", "GB", "TB")


def moment(micros: int) -> str:
    """Return a time to the minute: `2026-11-23 10:38 UTC`."""
    return f"{to_datetime(micros):%Y-%m-%d %H:%M} UTC"


def duration(seconds: float) -> str:
    """Return about how long something takes: `38 minutes`, `25 hours`, `3 days`."""
    if seconds < 2 * _HOUR:
        return counted(max(1, round(seconds / _MINUTE)), "minute")
    if seconds < 2 * _DAY:
        return counted(round(seconds / _HOUR), "hour")
    return counted(round(seconds / _DAY), "day")


def micros_between(first: int, last: int) -> str:
    """Return about how long it was from one moment to another."""
    return duration(max(0, last - first) / MICROS)


def counted(number: int, what: str) -> str:
    """Return a number with its word: `1 hour`, `58,302 events`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def run_word(data_types: Collection[str]) -> str:
    """Return what runs of these data types are counted as: of one type each is an hour."""
    return "hour" if len(data_types) == 1 else "run"


def size(number: int) -> str:
    """Return bytes in the unit that people use for so many: `12.3 MB`."""
    value, unit = float(number), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return counted(number, "byte") if unit == 0 else f"{value:.1f} {_UNITS[unit]}"
