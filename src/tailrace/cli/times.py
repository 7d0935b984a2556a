"""How commands write times and hours."""

from __future__ import annotations

from tailrace.clock import to_datetime
from tailrace.hours import Hour


def time_text(micros: int) -> str:
    """Return a moment to the second: `2026-01-02T15:04:05Z`."""
    return f"{to_datetime(micros):%Y-%m-%dT%H:%M:%SZ}"


def hour_text(hour: Hour | None) -> str | None:
    """Return an hour that may be missing: `2026-01-02T15`."""
    return None if hour is None else str(hour)
