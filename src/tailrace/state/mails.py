"""The mails that were made, each kept with to whom it went and whether it did.

`notify` makes them in the transaction that decides on them, and sends them afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tailrace import killpoints
from tailrace.clock import MICROS
from tailrace.errors import BadRequest
from tailrace.state.book import ReadingBook
from tailrace.state.database import reading, writing
from tailrace.state.tables import mail, mail_recipient

MailKind = Literal["outage", "reminder", "all-clear", "room", "disk", "fault", "conflict", "stall"]
RecipientState = Literal["waiting", "sent", "refused", "given up"]
MailState = Literal["waiting", "sent", "not sent", "nobody"]

# A page or a command shows no more at once.
MAILS_MAX = 1000

# Kept for a bit more than a year; a few a day, of some kilobytes each.
KEEP_MICROS = 400 * 24 * 3600 * MICROS


# A mail that was not sent is news for a week.
LATELY_MICROS = 7 * 24 * 3600 * MICROS


class NewMail(msgspec.Struct, frozen=True, kw_only=True):
    """A mail to be kept and sent. Without an organization it is for the operator.

    `cause` tells causes apart, for the rule of one mail a day.
    """

    kind: MailKind
    subject: str
    text: str
    html: str
    recipients: tuple[str, ...]
    organization: int | None = None
    destination_id: int | None = None
    outage_id: int | None = None
    cause: str | None = None


class Recipient(msgspec.Struct, frozen=True):
    """One address of a mail. `due_micros` is the machine's time, the others the service's."""

    address: str
    state: RecipientState
    attempts: int
    due_micros: int | None
    tried_micros: int | None
    sent_micros: int | None
    error: str | None


class Mail(msgspec.Struct, frozen=True):
    """A mail as it is kept. `thread_id` is the message ID of the outage's first mail."""

    id: int
    made_micros: int
    kind: MailKind
    organization: int | None
    destination_id: int | None
    outage_id: int | None
    cause: str | None
    message_id: str
    thread_id: str | None
    subject: str
    text: str
    html: str
    recipients: tuple[Recipient, ...]

    @property
    def state(self) -> MailState:
        """What became of it: `not sent` if anybody did not get it and will not."""
        states = {one.state for one in self.recipients}
        if not states:
            return "nobody"
        if "waiting" in states:
            return "waiting"
        return "sent" if states == {"sent"} else "not sent"


class Outcome(msgspec.Struct, frozen=True):
    """What a try to send came to for one address; `due_micros` (the machine's) if it waits."""

    address: str
    state: RecipientState
    error: str | None = None
    due_micros: int | None = None


class MailCounts(msgspec.Struct, frozen=True):
    """How many addresses wait for a mail, and what the last trouble with one was."""

    waiting: int
    not_sent: int
    error: str | None


class Mails(ReadingBook):
    """Read the kept mails, and note what sending came to.

    The operator's own mails are nobody's but the operator's.
    """

    def newest(
        self,
        *,
        organization: int | None = None,
        destination_id: int | None = None,
        limit: int = MAILS_MAX,
    ) -> list[Mail]:
        """Return mails, the newest first; each filter that is given narrows them."""
        statement = self._own().order_by(mail.c.id.desc()).limit(min(limit, MAILS_MAX))
        if organization is not None:
            statement = statement.where(mail.c.organization == organization)
        if destination_id is not None:
            statement = statement.where(mail.c.destination_id == destination_id)
        with reading(self.engine) as connection:
            return _mails(connection, statement)

    def get(self, mail_id: int) -> Mail:
        """Return a mail; raise `BadRequest` if there is none of that number."""
        with reading(self.engine) as connection:
            found = _mails(connection, self._own().where(mail.c.id == mail_id))
        if not found:
            raise BadRequest(f'There is no mail {mail_id}. List them with "tailrace mail list".')
        return found[0]

    def _own(self) -> sa.Select[Any]:
        found = sa.select(mail)
        return found if self.within is None else found.where(mail.c.organization == self.within)

    def due(self, now_micros: int, limit: int) -> list[Mail]:
        """Return the mails with an address whose turn it is (machine's time), oldest first."""
        waiting = (
            sa.select(mail_recipient.c.mail_id)
            .where(mail_recipient.c.due_micros <= now_micros)
            .distinct()
        )
        statement = sa.select(mail).where(mail.c.id.in_(waiting)).order_by(mail.c.id).limit(limit)
        with reading(self.engine) as connection:
            return _mails(connection, statement)

    def tried(self, mail_id: int, outcomes: Iterable[Outcome]) -> None:
        """Note what a try came to for some of a mail's addresses."""
        now = self.clock.now_micros()
        with writing(self.engine) as connection:
            for one in outcomes:
                connection.execute(
                    mail_recipient.update()
                    .where(
                        mail_recipient.c.mail_id == mail_id,
                        mail_recipient.c.address == one.address,
                        mail_recipient.c.state == "waiting",
                    )
                    .values(
                        state=one.state,
                        attempts=mail_recipient.c.attempts + 1,
                        due_micros=one.due_micros,
                        tried_micros=now,
                        sent_micros=now if one.state == "sent" else None,
                        error=one.error,
                    )
                )

    def wake_beyond(self, latest_micros: int) -> int:
        """Make due what waits for a later moment than any schedule sets, as runs are woken."""
        beyond = mail_recipient.c.due_micros > latest_micros
        with reading(self.engine) as connection:
            if not connection.execute(sa.select(sa.exists().where(beyond))).scalar_one():
                return 0
        with writing(self.engine) as connection:
            statement = mail_recipient.update().where(beyond).values(due_micros=0)
            return connection.execute(statement).rowcount

    def counts(self) -> MailCounts:
        """Count the addresses that wait for a mail, and those that lately did not get one."""
        state = mail_recipient.c.state
        lately = self.clock.now_micros() - LATELY_MICROS
        numbers = (
            sa.select(state, sa.func.count().label("number"))
            .where(sa.or_(state == "waiting", mail_recipient.c.tried_micros >= lately))
            .group_by(state)
        )
        last = (
            sa.select(mail_recipient.c.error)
            .where(
                mail_recipient.c.error.is_not(None),
                state != "sent",
                mail_recipient.c.tried_micros >= lately,
            )
            .order_by(mail_recipient.c.tried_micros.desc())
            .limit(1)
        )
        with reading(self.engine) as connection:
            found = {row.state: int(row.number) for row in connection.execute(numbers)}
            return MailCounts(
                waiting=found.get("waiting", 0),
                not_sent=found.get("refused", 0) + found.get("given up", 0),
                error=connection.execute(last).scalar_one_or_none(),
            )

    def forget_old(self) -> int:
        """Remove mails that are older than they are kept; return how many."""
        old = mail.c.made_micros < self.clock.now_micros() - KEEP_MICROS
        with reading(self.engine) as connection:
            if connection.execute(sa.select(mail.c.id).where(old).limit(1)).first() is None:
                return 0
        with writing(self.engine) as connection:
            connection.execute(
                mail_recipient.delete().where(
                    mail_recipient.c.mail_id.in_(sa.select(mail.c.id).where(old))
                )
            )
            return connection.execute(mail.delete().where(old)).rowcount


def keep_mail(connection: Connection, new: NewMail, *, made_micros: int, message_id: str) -> int:
    """Keep a mail inside the caller's transaction, due to be sent at once; return its number.

    Once that transaction is durable so is the mail, and no crash makes it a second time.
    """
    values = msgspec.structs.asdict(new)
    recipients = values.pop("recipients")
    number: int = connection.execute(
        mail.insert()
        .values(**values, made_micros=made_micros, message_id=message_id)
        .returning(mail.c.id)
    ).scalar_one()
    for address in dict.fromkeys(recipients):
        connection.execute(
            mail_recipient.insert().values(
                mail_id=number, address=address, state="waiting", attempts=0, due_micros=0
            )
        )
    killpoints.reached("mail.before_commit")
    return number


def made_of_outage(connection: Connection, outage_id: int) -> list[int]:
    """Return when each mail that says an outage lasts was made, oldest first."""
    statement = (
        sa.select(mail.c.made_micros)
        .where(mail.c.outage_id == outage_id, mail.c.kind.in_(_OF_TROUBLE))
        .order_by(mail.c.id)
    )
    return list(connection.execute(statement).scalars())


def last_made(connection: Connection, destination_id: int, cause: str) -> int | None:
    """Return when a destination was last mailed about for a cause, in whatever outage."""
    statement = sa.select(sa.func.max(mail.c.made_micros)).where(
        mail.c.destination_id == destination_id,
        mail.c.cause == cause,
        mail.c.kind.in_(_OF_TROUBLE),
    )
    found: int | None = connection.execute(statement).scalar_one_or_none()
    return found


_OF_TROUBLE: tuple[MailKind, ...] = ("outage", "reminder")


def _mails(connection: Connection, statement: sa.Select[Any]) -> list[Mail]:
    rows = connection.execute(statement).all()
    numbers = [row.id for row in rows]
    recipients: dict[int, list[Recipient]] = {number: [] for number in numbers}
    for row in connection.execute(
        sa.select(mail_recipient)
        .where(mail_recipient.c.mail_id.in_(numbers))
        .order_by(mail_recipient.c.address)
    ):
        recipients[row.mail_id].append(
            Recipient(
                row.address,
                row.state,
                row.attempts,
                row.due_micros,
                row.tried_micros,
                row.sent_micros,
                row.error,
            )
        )
    threads = _threads(connection, {row.outage_id for row in rows if row.outage_id is not None})
    return [
        Mail(
            id=row.id,
            made_micros=row.made_micros,
            kind=row.kind,
            organization=row.organization,
            destination_id=row.destination_id,
            outage_id=row.outage_id,
            cause=row.cause,
            message_id=row.message_id,
            thread_id=threads.get(row.outage_id),
            subject=row.subject,
            text=row.text,
            html=row.html,
            recipients=tuple(recipients[row.id]),
        )
        for row in rows
    ]


def _threads(connection: Connection, outages: set[int]) -> dict[int, str]:
    firsts = (
        sa.select(sa.func.min(mail.c.id))
        .where(mail.c.outage_id.in_(outages))
        .group_by(mail.c.outage_id)
    )
    statement = sa.select(mail.c.outage_id, mail.c.message_id).where(mail.c.id.in_(firsts))
    return {row.outage_id: row.message_id for row in connection.execute(statement)}
