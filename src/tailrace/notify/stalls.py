"""Which stores have only failed for a day now: told to the operator once a day while it lasts.

A warning is noted as it begins, without a mail; so it is mailed of when it is a day old.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from sqlalchemy.engine import Connection

from tailrace.clock import MICROS
from tailrace.notify.outage_mails import DAY_MICROS
from tailrace.state.delivery import Cause, Destination
from tailrace.state.owed import Owed, is_owed, owed
from tailrace.state.room import Warned
from tailrace.state.stalls import delivered_since, passing_cause, without_outage

# A run that was tried so often, over some minutes, met no passing trouble of its own.
_ATTEMPTS = 8

# Those that would be due so soon are told with the others: a store is away for all of them.
_TOGETHER_MICROS = 3600 * MICROS

_STALL = "stall "


class Stall(msgspec.Struct, frozen=True):
    """A destination that nothing has reached since a moment (the service's), and what waits."""

    destination: Destination
    cause: Cause
    since_micros: int
    owed: Owed


class FoundStalls(msgspec.Struct, frozen=True):
    """The names of those that are over, and of those that are new or told now; and the latter.

    One that is over may begin anew at once.
    """

    over: tuple[str, ...]
    begun: tuple[str, ...]
    told: tuple[Stall, ...]


def find_stalls(connection: Connection, known: Mapping[str, Warned], now: int) -> FoundStalls:
    """Return what is to be noted, mailed and forgotten now, given what was noted before."""
    going_on: set[str] = set()
    begun: list[str] = []
    lasting: list[tuple[Destination, Cause, Warned]] = []
    for destination in without_outage(connection):
        name = f"{_STALL}{destination.id}"
        warned = known.get(name)
        if warned is not None:
            if _goes_on(connection, destination, warned, now):
                going_on.add(name)
            else:
                warned = None
        cause = passing_cause(connection, destination.id, _ATTEMPTS)
        if cause is None:
            continue
        if warned is None:
            begun.append(name)
            continue
        lasting.append((destination, cause, warned))
    told: tuple[Stall, ...] = ()
    if any(now - warned.mailed_micros >= DAY_MICROS for _, _, warned in lasting):
        told = tuple(
            Stall(destination, cause, warned.since_micros, owed(connection, destination.id))
            for destination, cause, warned in lasting
            if now - warned.mailed_micros >= DAY_MICROS - _TOGETHER_MICROS
        )
    begun += [f"{_STALL}{one.destination.id}" for one in told]
    over = (name for name in known if name.startswith(_STALL) and name not in going_on)
    return FoundStalls(tuple(over), tuple(begun), told)


def _goes_on(connection: Connection, destination: Destination, warned: Warned, now: int) -> bool:
    # Noted by a clock that has been set back since: it begins anew.
    if warned.mailed_micros > now:
        return False
    if not is_owed(connection, destination.id):
        return False
    return not delivered_since(connection, destination.id, warned.since_micros)
