"""Read the `client_upload_time` of a request's body."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from tailrace.clock import to_micros
from tailrace.collect.rules import TIME_MAX_MILLIS


def client_upload_micros(given: str | float | None) -> int | None:
    """Return microseconds since the epoch for ISO-8601 text or epoch milliseconds.

    SDKs send it without being asked, so what can't be read counts as not sent (section 4.2 then
    takes the server's time). Text without an offset is UTC.
    """
    if given is None:
        return None
    if isinstance(given, str):
        return _from_text(given)
    if not math.isfinite(given) or not 0 <= given <= TIME_MAX_MILLIS:
        return None
    return int(given * 1000)


def _from_text(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    micros = to_micros(moment)
    return micros if 0 <= micros <= TIME_MAX_MILLIS * 1000 else None
