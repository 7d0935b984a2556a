"""Sign-in links: a person chooses a password by a link that somebody made for them.

An admin makes one for whoever is in their organization alone: who gets into an account gets into
all of its organizations. The operator makes one for anybody. A link's token is in the link, and
here only as a hash. Until when one holds is the machine's time (microseconds).
"""

from __future__ import annotations

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from tailrace.accounts.membership import (
    Account,
    Person,
    give_password,
    memberships,
    require_account,
    require_own,
)
from tailrace.accounts.passwords import Passwords, checked_password
from tailrace.accounts.tokens import random_token, token_hash
from tailrace.accounts.trail import Trail
from tailrace.clock import MICROS, Clock, to_datetime
from tailrace.errors import BadRequest, NotAllowed
from tailrace.ids import Ids
from tailrace.state.audit import SERVICE
from tailrace.state.database import one_change_at_a_time, reading, writing
from tailrace.state.tables import organization, person, session, sign_in_link

# Whoever is on holiday gets another one.
LIFETIME_MICROS = 7 * 86_400 * MICROS


class Link(msgspec.Struct, frozen=True):
    """A link that was just made. Its token is shown here and never again."""

    email: str
    token: str
    ends_micros: int

    def __repr__(self) -> str:
        return f"Link(email={self.email!r}, token=...)"


class Invited(msgspec.Struct, frozen=True):
    """Whom a link lets choose a password, and the names of their organizations."""

    email: str
    organizations: tuple[str, ...]


def join_path(token: str) -> str:
    """Return the page to which a token belongs."""
    return f"/join/{token}"


def make_link(
    engine: Engine,
    organization_id: int,
    email: str,
    *,
    ids: Ids,
    clock: Clock,
    machine: Clock,
    by: str,
) -> Link:
    """Make a link for somebody else who is in this organization alone; an earlier one is void.

    Their password and sessions stay until it is used. Raise `BadRequest` for anybody else, and
    while a link holds that the operator made for them.
    """
    with writing(engine) as connection:
        one_change_at_a_time(connection)
        found = require_own(connection, organization_id, email, by=by)
        _refuse_operators(connection, found, machine)
        email = found.email
        trail = Trail(connection, clock.now_micros(), by)
        return _make(trail, email, organization_id, ids, machine)


def make_operators_link(
    engine: Engine, email: str, *, ids: Ids, clock: Clock, machine: Clock, by: str = SERVICE
) -> Link:
    """Make a link for anybody; only the operator may be let do this, and nobody else be shown it.

    Every earlier one of theirs is void. Raise `BadRequest` for an address without an account.
    """
    with writing(engine) as connection:
        one_change_at_a_time(connection)
        return _make(Trail(connection, clock.now_micros(), by), email, None, ids, machine)


def links_that_hold(engine: Engine, organization_id: int, *, machine: Clock) -> dict[str, int]:
    """Return until when each link of an organization's admins holds, by the person's address."""
    statement = (
        sa.select(person.c.email, sign_in_link.c.ends_micros)
        .join(person, person.c.id == sign_in_link.c.person)
        .where(
            sign_in_link.c.organization == organization_id,
            sign_in_link.c.ends_micros > machine.now_micros(),
        )
    )
    with reading(engine) as connection:
        return {row.email: row.ends_micros for row in connection.execute(statement)}


def find_link(engine: Engine, token: str, *, machine: Clock) -> Invited:
    """Return whom a token lets choose a password; raise `NotAllowed` if it is void or nobody's."""
    with reading(engine) as connection:
        email, of = _holds(connection, token, machine)
        return Invited(email, of)


def use_link(
    engine: Engine,
    token: str,
    password: str,
    *,
    passwords: Passwords,
    clock: Clock,
    machine: Clock,
) -> Account:
    """Set the password of a token's person; on return the token is void and no session is left.

    Raise `NotAllowed` for a token that is void, and `BadRequest` for a password that breaks a rule.
    """
    found = find_link(engine, token, machine=machine)
    password_hash = passwords.hash(checked_password(password, found.email))
    with writing(engine) as connection:
        one_change_at_a_time(connection)
        # Anew: hashing takes its time, and a link is used once.
        email, _ = _holds(connection, token, machine)
        account = require_account(connection, email)
        made_for = connection.execute(
            sa.select(sign_in_link.c.organization).where(sign_in_link.c.person == account.person)
        ).scalar_one()
        connection.execute(session.delete().where(session.c.person == account.person))
        trail = Trail(connection, clock.now_micros(), account.email)
        trail.note("sign-in link used", f"person {account.person}", {"email": account.email})
        return give_password(trail, account, password_hash, made_for)


def _refuse_operators(connection: Connection, found: Person, machine: Clock) -> None:
    """Raise `BadRequest` if a link of the operator's holds, which is not an admin's to void."""
    statement = sa.select(sign_in_link.c.ends_micros).where(
        sign_in_link.c.person == found.id,
        sign_in_link.c.organization.is_(None),
        sign_in_link.c.ends_micros > machine.now_micros(),
    )
    ends_micros = connection.execute(statement).scalar_one_or_none()
    if ends_micros is not None:
        raise BadRequest(
            f"Cannot make a sign-in link for {found.email}: one that whoever runs tailrace made "
            f"for them works until {to_datetime(ends_micros):%Y-%m-%d %H:%M} UTC, and another "
            "would void it. Let them use that one, or ask whoever runs tailrace for a new one: "
            f'"tailrace person invite {found.email}".'
        )


def _make(trail: Trail, email: str, organization_id: int | None, ids: Ids, machine: Clock) -> Link:
    connection = trail.connection
    account = require_account(connection, email)
    made = Link(
        account.email,
        random_token(ids),
        machine.now_micros() + LIFETIME_MICROS,
    )
    connection.execute(sign_in_link.delete().where(sign_in_link.c.person == account.person))
    connection.execute(
        sign_in_link.insert().values(
            person=account.person,
            token_sha256=token_hash(made.token),
            organization=organization_id,
            made_by=trail.by,
            ends_micros=made.ends_micros,
        )
    )
    detail: dict[str, object] = {"email": account.email}
    if organization_id is not None:
        detail["organization"] = organization_id
    trail.note("sign-in link made", f"person {account.person}", detail)
    return made


def _holds(connection: Connection, token: str, machine: Clock) -> tuple[str, tuple[str, ...]]:
    """Return the person's address and organizations; raise `NotAllowed` if a token is void."""
    row = connection.execute(
        sa.select(
            sign_in_link.c.person,
            sign_in_link.c.organization,
            sign_in_link.c.ends_micros,
            person.c.email,
        )
        .join(person, person.c.id == sign_in_link.c.person)
        .where(sign_in_link.c.token_sha256 == token_hash(token))
    ).one_or_none()
    if row is not None:
        of = [one.organization for one in memberships(connection, row.person)]
        # Whoever joined another organization is not its maker's alone any more.
        expected = of if row.organization is None else [row.organization]
        if of and of == expected and machine.now_micros() < row.ends_micros:
            names = connection.execute(
                sa.select(organization.c.name)
                .where(organization.c.id.in_(of))
                .order_by(organization.c.id)
            )
            return row.email, tuple(names.scalars())
    raise NotAllowed(
        "This link does not work, or not any more: a sign-in link works once, for 7 days, and only "
        "the newest one. Nothing was changed. Ask an admin of your organization, or whoever runs "
        "tailrace, for a new one."
    )
