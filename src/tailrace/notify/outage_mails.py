"""Which mail an outage owes, and the making of it: one as it begins, one a day, one as it ends.

A mail is decided on and kept in one transaction that sees the outage as it is: it is made once
whenever a process dies, and an outage that ends first owes none.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection, Engine

from tailrace.clock import MICROS, Clock
from tailrace.ids import Ids
from tailrace.notify.letter import Letter, as_html, as_text, subject_line
from tailrace.notify.message import message_id
from tailrace.notify.outage_letters import (
    Facing,
    all_clear_letter,
    outage_letter,
    reminder_letter,
)
from tailrace.notify.recipients import of_destination
from tailrace.notify.room import RoomGauge
from tailrace.notify.to_add import missing_actions, to_add
from tailrace.settings import Settings
from tailrace.state import outage_history, outages, tables
from tailrace.state.database import reading, writing
from tailrace.state.delivery import Cause, Destination
from tailrace.state.destination_book import find_destination
from tailrace.state.mails import (
    MailKind,
    NewMail,
    keep_mail,
    last_made,
    made_of_outage,
)
from tailrace.state.outage_history import Outage
from tailrace.state.owed import owed
from tailrace.state.tables import organization, project

log = structlog.get_logger(__name__)

# From one mail of an outage to the next, and for one destination and cause (D20, section 7).
DAY_MICROS = 24 * 3600 * MICROS

# Probes find all that is missing in seconds. A store that hangs must not keep the mail back.
PROBE_PATIENCE_MICROS = 120 * MICROS

# Outages looked at in one turn: each is a few rows, and more come in the next.
OUTAGES_MAX = 1000

Step = Literal["outage", "reminder", "all-clear", "close"]

_LETTERS = {
    "outage": outage_letter,
    "reminder": reminder_letter,
    "all-clear": all_clear_letter,
}


class Mailing(msgspec.Struct, frozen=True):
    """What mails are made with. `clock` is the service's, whose times people read."""

    engine: Engine
    clock: Clock
    ids: Ids
    settings: Settings
    gauge: RoomGauge


def make_outage_mails(mailing: Mailing) -> int:
    """Make every mail that an outage owes now; return how many."""
    made = 0
    with reading(mailing.engine) as connection:
        now = mailing.clock.now_micros()
        due = [
            one.id
            for one in outage_history.open_outages(connection, OUTAGES_MAX)
            if _step(connection, one, now) is not None
        ]
    for outage_id in due:
        made += _make(mailing, outage_id)
    return made


def keep(mailing: Mailing, connection: Connection, new: NewMail) -> int:
    """Keep a mail under a message ID of its own, inside the caller's transaction."""
    number = message_id(mailing.ids, mailing.settings.smtp.sender)
    return keep_mail(connection, new, made_micros=mailing.clock.now_micros(), message_id=number)


def _make(mailing: Mailing, outage_id: int) -> int:
    now = mailing.clock.now_micros()
    with writing(mailing.engine) as connection:
        found = outage_history.open_outage(connection, outage_id)
        step = None if found is None else _step(connection, found, now)
        if found is None or step is None:
            return 0
        if step in {"all-clear", "close"}:
            outage_history.close(connection, outage_id, now)
        if step == "close":
            return 0
        destination = find_destination(connection, found.destination_id)
        letter = _LETTERS[step](_facing(mailing, connection, destination, found, now))
        recipients = of_destination(connection, destination, mailing.settings.smtp.operator)
        number = keep(
            mailing,
            connection,
            _mail(step, letter, destination, found, recipients),
        )
    log.info("mail_made", mail=number, kind=step, destination=destination.id)
    return 1


def _step(connection: Connection, found: Outage, now: int) -> Step | None:
    """Return what an outage owes now; None if it is to be left alone."""
    destination = find_destination(connection, found.destination_id)
    made = made_of_outage(connection, found.id)
    if found.ended_micros is not None:
        # Probes may pass though nothing can be put; and where nothing waits, nothing will be.
        if not outage_history.is_well(connection, found) and owed(connection, destination.id).hours:
            return None
        return "all-clear" if made else "close"
    if not _is_tried(connection, destination):
        return None
    if destination.outage_cause is None or destination.outage_cause.kind != "access":
        # The operator's fault, or the store's: nothing that its owner could mend is known now.
        return None
    if made:
        return "reminder" if _a_day_ago(made[-1], now) else None
    if not found.probed and 0 <= now - found.began_micros < PROBE_PATIENCE_MICROS:
        return None
    last = last_made(connection, destination.id, _cause_name(found.cause))
    return "outage" if last is None or _a_day_ago(last, now) else None


def _is_tried(connection: Connection, destination: Destination) -> bool:
    """Return whether anything is to go to the destination: nobody is told of what they paused."""
    statement = sa.select(outages.is_tried()).where(tables.destination.c.id == destination.id)
    return bool(connection.execute(statement).scalar_one())


def _a_day_ago(made: int, now: int) -> bool:
    # A mail of the future was made by a clock that has been set back since.
    return not 0 <= now - made < DAY_MICROS


def _cause_name(cause: Cause) -> str:
    return " ".join((cause.code, *sorted(missing_actions(cause))))


def _facing(
    mailing: Mailing, connection: Connection, destination: Destination, found: Outage, now: int
) -> Facing:
    return Facing(
        destination=destination,
        project=_name(connection, project, destination.project),
        organization=_name(connection, organization, destination.organization),
        outage=found,
        owed=owed(connection, destination.id),
        room=mailing.gauge.room(connection),
        to_add=to_add(destination, found.cause, mailing.settings.aws.principal_arn),
        now_micros=now,
    )


def _name(connection: Connection, table: sa.Table, number: int) -> str:
    statement = sa.select(table.c.name).where(table.c.id == number)
    return str(connection.execute(statement).scalar_one())


def _mail(
    kind: MailKind,
    letter: Letter,
    destination: Destination,
    found: Outage,
    recipients: tuple[str, ...],
) -> NewMail:
    return NewMail(
        kind=kind,
        organization=destination.organization,
        destination_id=destination.id,
        outage_id=found.id,
        cause=_cause_name(found.cause),
        subject=subject_line(letter.subject),
        text=as_text(letter),
        html=as_html(letter),
        recipients=recipients,
    )
