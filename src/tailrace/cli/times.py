"""How commands write times and hours."""

from __future__ import annotations

from tailrace.clock import to_datetime
from tailrace.hours import Hour


def time_text(micros: int) -> str:
    """Return a moment to the second: `2026-01-02T15:04:05Z`."""
    return f"{to_datetime(micros):%Y-%m-%dT%H:%M:%SZ}"


def optional_time_text(micros: int | None) -> str | None:
    """Return a moment that may be missing, as `time_text` does."""
    return None if micros is None else time_text(micros)


def hour_text(hour: Hour | None) -> str | None:
    """Return an hour that may be missing: `2026-01-02T15`."""
    return None if hour is None else str(hour)
