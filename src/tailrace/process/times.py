"""The time fields of a line: which they are (behaviour 4.2, D33) and how they read (D1)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

# Skews from this size on correct the event time; a smaller one is network delay (D33).
SKEW_MILLIS_MIN = 60_000

# What four-digit years can say. A corrected time outside is shown as the nearest of the two.
FIRST_MILLIS = -62_135_596_800_000
LAST_MILLIS = 253_402_300_799_999

# A day of seconds: event times mostly lie near each other; the cache starts anew when full.
_SECONDS_MAX = 86_400

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLIS_TEXT = tuple(f".{millis:03d}000" for millis in range(1000))
_seconds: dict[int, str] = {}


def millis_text(millis: int) -> str:
    """Return `YYYY-MM-DD HH:MM:SS.mmm000` in UTC (D1); years outside 1 to 9999 are clamped."""
    second, rest = divmod(millis, 1000)
    text = _seconds.get(second)
    if text is None:
        if clamped(millis) != millis:
            return millis_text(clamped(millis))
        text = _remember(second)
    return text + _MILLIS_TEXT[rest]


def micros_text(micros: int) -> str:
    """Return `YYYY-MM-DD HH:MM:SS.ffffff` in UTC; for `processed_time`, the one true fraction."""
    second, rest = divmod(micros, 1_000_000)
    return f"{millis_text(second * 1000)[:19]}.{rest:06d}"


def clamped(millis: int) -> int:
    """Return the nearest time that four-digit years can say; the database can't keep others."""
    if FIRST_MILLIS <= millis <= LAST_MILLIS:
        return millis
    return min(max(millis, FIRST_MILLIS), LAST_MILLIS)


def skew_shift(received_millis: int, client_upload_millis: int) -> int:
    """Return what turns a client event time into an event time, in milliseconds (4.2, D33)."""
    skew = received_millis - client_upload_millis
    return skew if abs(skew) >= SKEW_MILLIS_MIN else 0


def _remember(second: int) -> str:
    if len(_seconds) >= _SECONDS_MAX:
        _seconds.clear()
    text = (_EPOCH + timedelta(seconds=second)).isoformat(" ")[:19]
    _seconds[second] = text
    return text
