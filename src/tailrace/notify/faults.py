"""Which faults of the operator's are to be mailed of now: each once a day while it lasts.

A fault is a code at a destination. Those of one code are told in one mail, as far as they can be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy.engine import Connection

from tailrace.clock import MICROS
from tailrace.state.faults import Fault, faults
from tailrace.state.room import Warned

_HOUR_MICROS = 3600 * MICROS
_DAY_MICROS = 24 * _HOUR_MICROS

# A run whose own fault lasts has had so many tries, over some minutes: no passing trouble.
_ATTEMPTS = 8

# A fault of the machine's reaches one destination after the other, within minutes. Those that come
# so soon after a mail of the same code wait for the next one, and are then told together.
_TOGETHER_MICROS = _HOUR_MICROS

_FAULT = "fault "


class FoundFaults(msgspec.Struct, frozen=True):
    """The names of faults that are over and of those to mail of; of the latter, each mail's."""

    over: tuple[str, ...]
    begun: tuple[str, ...]
    mails: tuple[tuple[Fault, ...], ...]


def find_faults(connection: Connection, known: Mapping[str, Warned], now: int) -> FoundFaults:
    """Return what is to be mailed and forgotten now, given what was mailed of."""
    of_code: dict[str, list[Fault]] = {}
    for fault in faults(connection, _ATTEMPTS):
        of_code.setdefault(fault.cause.code, []).append(fault)
    mails = [told for group in of_code.values() if (told := _to_tell(group, known, now))]
    lasting = {_name(fault) for group in of_code.values() for fault in group}
    # Kept for a day, so that one that comes and goes is mailed of once a day as well.
    over = (
        name
        for name, warned in known.items()
        if name.startswith(_FAULT)
        and name not in lasting
        and not _is_within(warned, now, _DAY_MICROS)
    )
    return FoundFaults(
        over=tuple(over),
        begun=tuple(_name(fault) for told in mails for fault in told),
        mails=tuple(mails),
    )


def _to_tell(group: Sequence[Fault], known: Mapping[str, Warned], now: int) -> tuple[Fault, ...]:
    """Return which faults of one code are told in a mail now; none if it is not time for one."""

    def told_within(fault: Fault, micros: int) -> bool:
        warned = known.get(_name(fault))
        return warned is not None and _is_within(warned, now, micros)

    if any(told_within(fault, _TOGETHER_MICROS) for fault in group):
        return ()
    if all(told_within(fault, _DAY_MICROS) for fault in group):
        return ()
    # One that would be due within the hour is told with the others.
    return tuple(fault for fault in group if not told_within(fault, _DAY_MICROS - _TOGETHER_MICROS))


def _is_within(warned: Warned, now: int, micros: int) -> bool:
    # A mail of the future was made by a clock that has been set back since.
    return 0 <= now - warned.mailed_micros < micros


def _name(fault: Fault) -> str:
    return f"{_FAULT}{fault.cause.code} {fault.destination_id}"
