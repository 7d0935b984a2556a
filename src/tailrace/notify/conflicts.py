"""Which destinations' people are to be told of runs in conflict now: once, at most once a day."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from sqlalchemy.engine import Connection

from tailrace.notify.outage_mails import DAY_MICROS
from tailrace.state.conflicts import in_conflict, met_since
from tailrace.state.delivery import Destination
from tailrace.state.destination_book import find_destination
from tailrace.state.room import Warned

_CONFLICT = "conflict "


class FoundConflicts(msgspec.Struct, frozen=True):
    """The names of those that are over and of those to mail of, and the latter's destinations."""

    over: tuple[str, ...]
    begun: tuple[str, ...]
    destinations: tuple[Destination, ...]


def find_conflicts(connection: Connection, known: Mapping[str, Warned], now: int) -> FoundConflicts:
    """Return what is to be mailed and forgotten now, given what was mailed of.

    What lasts is mailed of again only if more runs came into it, and after a day.
    """
    waiting = in_conflict(connection)
    lasting = {_name(number) for number in waiting}
    due = []
    for number in waiting:
        warned = known.get(_name(number))
        if warned is None or _is_due_again(connection, number, warned, now):
            due.append(find_destination(connection, number))
    # Kept for a day, so that one that comes and goes is mailed of once a day as well.
    over = (
        name
        for name, warned in known.items()
        if name.startswith(_CONFLICT) and name not in lasting and not _is_of_today(warned, now)
    )
    return FoundConflicts(tuple(over), tuple(_name(one.id) for one in due), tuple(due))


def _is_due_again(connection: Connection, number: int, warned: Warned, now: int) -> bool:
    # A mail of the future was made by a clock that has been set back since.
    if warned.mailed_micros > now:
        return True
    if _is_of_today(warned, now):
        return False
    return met_since(connection, number, warned.mailed_micros)


def _is_of_today(warned: Warned, now: int) -> bool:
    return 0 <= now - warned.mailed_micros < DAY_MICROS


def _name(number: int) -> str:
    return f"{_CONFLICT}{number}"
