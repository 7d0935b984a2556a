"""View values of events that were accepted just now."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tailrace.app.recent import AcceptedEvent
from tailrace.clock import to_datetime

SHOWN_MAX = 10


class Arrival(msgspec.Struct, frozen=True):
    """One accepted event, in words. `who` is its user, or else its device."""

    time: str
    event_type: str
    who: str


class Arrivals(msgspec.Struct, frozen=True):
    """The newest events, newest first. `since` is what a page has, to ask whether it changed."""

    since: str
    newest: tuple[Arrival, ...]


def arrivals(events: Sequence[AcceptedEvent]) -> Arrivals:
    """Return view values of accepted events, newest first."""
    since = f"{events[0].accepted_micros}-{len(events)}" if events else "0"
    return Arrivals(since, tuple(_arrival(one) for one in events[:SHOWN_MAX]))


def _arrival(event: AcceptedEvent) -> Arrival:
    return Arrival(
        time=f"{to_datetime(event.accepted_micros):%H:%M:%S} UTC",
        event_type=event.event_type or "(no type)",
        who=event.user_id or event.device_id or "(nobody)",
    )
