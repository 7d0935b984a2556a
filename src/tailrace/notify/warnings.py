"""What is mailed while it lasts: little room, faults, runs in conflict, stores that are away.

Each warning is kept by its name with its mail, in one transaction, so that it is mailed once; it
is forgotten when it is clearly over, and only then can it come again.
"""

from __future__ import annotations

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tailrace.notify.conflict_letter import conflict_letter
from tailrace.notify.conflicts import find_conflicts
from tailrace.notify.faults import find_faults
from tailrace.notify.letter import Letter, as_html, as_text, subject_line
from tailrace.notify.outage_mails import Mailing, keep
from tailrace.notify.recipients import of_destination
from tailrace.notify.room import Room
from tailrace.notify.stall_letter import stall_letter
from tailrace.notify.stalls import Stall, find_stalls
from tailrace.notify.warning_letters import (
    disk_letter,
    fault_letter,
    room_letter,
    waiting_room_letter,
)
from tailrace.state import room as room_rows
from tailrace.state.conflicts import conflicts_of
from tailrace.state.database import reading, writing
from tailrace.state.delivery import Destination
from tailrace.state.faults import Fault
from tailrace.state.mails import MailKind, NewMail
from tailrace.state.owed import owed
from tailrace.state.rows import destination_of
from tailrace.state.tables import destination

_DAY_SECONDS = 24 * 3600

# Room for less than so long is mailed of; the shortest that it falls below.
ROOM_SECONDS = {"room for 24 hours": _DAY_SECONDS, "room for 7 days": 7 * _DAY_SECONDS}

# There must be a quarter more before the same is mailed again: the rate of a day goes up and down.
_CLEARLY = 1.25


def make_warnings(mailing: Mailing) -> int:
    """Make the mails of warnings that are new or due again; return how many."""
    with reading(mailing.engine) as connection:
        if not _find(mailing, connection).changes:
            return 0
    with writing(mailing.engine) as connection:
        found = _find(mailing, connection)
        now = mailing.clock.now_micros()
        for name in found.over:
            room_rows.over(connection, name)
        for name in found.begun:
            room_rows.warn(connection, name, now)
        made = 0
        for new in _mails(mailing, connection, found):
            keep(mailing, connection, new)
            made += 1
        return made


class _Found(msgspec.Struct, frozen=True):
    """What is to change: warnings that are over, and those to mail of now."""

    room: Room
    over: tuple[str, ...]
    begun: tuple[str, ...]
    faults: tuple[tuple[Fault, ...], ...]
    conflicts: tuple[Destination, ...]
    stalls: tuple[Stall, ...]

    @property
    def changes(self) -> bool:
        return bool(self.over or self.begun)


def _find(mailing: Mailing, connection: Connection) -> _Found:
    known = room_rows.warnings(connection)
    room = mailing.gauge.room(connection)
    left = room.seconds_left
    over, begun = [], []
    for name, seconds in ROOM_SECONDS.items():
        if name in known:
            if room.is_known and (left is None or left > seconds * _CLEARLY):
                over.append(name)
        elif left is not None and left < seconds:
            begun.append(name)
    for number in (1, 2, 3):
        name = _reserve(number)
        if name in known and room.reserves_near < number:
            over.append(name)
        elif name not in known and room.reserves_broken >= number:
            begun.append(name)
    now = mailing.clock.now_micros()
    faults = find_faults(connection, known, now)
    conflicts = find_conflicts(connection, known, now)
    stalls = find_stalls(connection, known, now)
    return _Found(
        room=room,
        over=(*over, *faults.over, *conflicts.over, *stalls.over),
        begun=(*begun, *faults.begun, *conflicts.begun, *stalls.begun),
        faults=faults.mails,
        conflicts=conflicts.destinations,
        stalls=stalls.told,
    )


def _mails(mailing: Mailing, connection: Connection, found: _Found) -> list[NewMail]:
    operator = mailing.settings.smtp.operator
    mails = []
    # Who hears of the last day need not hear of the week as well, nor of a smaller reserve's end.
    shortest = next((name for name in ROOM_SECONDS if name in found.begun), None)
    if shortest is not None:
        mails.append(_mail("room", room_letter(found.room), operator))
        mails += [
            _mail(
                "room",
                waiting_room_letter(found.room, one, owed(connection, one.id)),
                of_destination(connection, one, operator),
                one,
            )
            for one in _in_outage(connection)
        ]
    broken = [number for number in (1, 2, 3) if _reserve(number) in found.begun]
    if broken:
        mails.append(_mail("disk", disk_letter(found.room, max(broken)), operator))
    mails += [_mail("fault", fault_letter(one), operator) for one in found.faults]
    mails += [
        _mail(
            "conflict",
            conflict_letter(one, conflicts_of(connection, one.id)),
            of_destination(connection, one, operator),
            one,
        )
        for one in found.conflicts
    ]
    if found.stalls:
        letter = stall_letter(found.stalls, mailing.clock.now_micros())
        mails.append(_mail("stall", letter, operator))
    return mails


def _mail(
    kind: MailKind,
    letter: Letter,
    recipients: tuple[str, ...],
    about: Destination | None = None,
) -> NewMail:
    return NewMail(
        kind=kind,
        organization=None if about is None else about.organization,
        destination_id=None if about is None else about.id,
        subject=subject_line(letter.subject),
        text=as_text(letter),
        html=as_html(letter),
        recipients=recipients,
    )


def _in_outage(connection: Connection) -> list[Destination]:
    """Return the destinations whose hours take the room because their access is refused."""
    statement = (
        sa.select(destination)
        .where(destination.c.state == "active", destination.c.outage_since_micros.is_not(None))
        .order_by(destination.c.id)
    )
    return [destination_of(row) for row in connection.execute(statement)]


def _reserve(number: int) -> str:
    return f"reserve {number}"
