"""Sessions: who is signed in on the pages, in which browser, and until when.

A session's token is in its browser's cookie, and here only as a hash. What a person may do is read
anew at each look-up, so that whoever is removed or given another role loses it at once. All times
of sessions are the machine's (microseconds).
"""

from __future__ import annotations

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tailrace.accounts.membership import Account, Person, memberships, require_own
from tailrace.accounts.tokens import random_token, token_hash
from tailrace.accounts.trail import Trail
from tailrace.clock import MICROS, Clock
from tailrace.errors import BadRequest
from tailrace.ids import Ids
from tailrace.state.database import one_change_at_a_time, reading, writing
from tailrace.state.tables import person, session

# Who looks in on Mondays only stays signed in; a browser that was left behind does not for long.
IDLE_MICROS = 8 * 86_400 * MICROS
LIFETIME_MICROS = 30 * 86_400 * MICROS

# Each note of a use is a durable write, so a busy session notes it this seldom.
NOTED_MICROS = 600 * MICROS

# More browsers than a person has; beyond it the one that was unused longest is signed out.
SESSIONS_MAX = 20


class Session(msgspec.Struct, frozen=True):
    """A person who is signed in: what they are in each of their organizations.

    `shown` is the organization that they looked at last; it is among `memberships`.
    """

    person: int
    email: str
    memberships: tuple[Person, ...]
    shown: Person


def sign_in(engine: Engine, account: Account, *, ids: Ids, clock: Clock) -> str:
    """Begin a session of an account whose password was checked; return the browser's token."""
    token = random_token(ids)
    now = clock.now_micros()
    with writing(engine) as connection:
        connection.execute(session.delete().where(_over(now)))
        newest = (
            sa.select(session.c.token_sha256)
            .where(session.c.person == account.person)
            .order_by(session.c.used_micros.desc(), session.c.token_sha256)
            .limit(SESSIONS_MAX - 1)
        )
        connection.execute(
            session.delete().where(
                session.c.person == account.person, session.c.token_sha256.not_in(newest)
            )
        )
        connection.execute(
            session.insert().values(
                token_sha256=token_hash(token),
                person=account.person,
                password_set_micros=account.password_set_micros,
                created_micros=now,
                used_micros=now,
            )
        )
    return token


def find_session(engine: Engine, token: str, *, clock: Clock) -> Session | None:
    """Return who this token signs in now, or None: it is over, void, or nobody's.

    One read; a write only if the last use was noted `NOTED_MICROS` ago.
    """
    now = clock.now_micros()
    with reading(engine) as connection:
        row = connection.execute(
            sa.select(
                session.c.person, session.c.organization, session.c.used_micros, person.c.email
            )
            .join(person, person.c.id == session.c.person)
            .where(
                session.c.token_sha256 == token_hash(token),
                sa.not_(_over(now)),
                session.c.password_set_micros.is_not_distinct_from(person.c.password_set_micros),
            )
        ).one_or_none()
        if row is None:
            return None
        found = tuple(memberships(connection, row.person))
    if not found:
        return None
    if row.used_micros <= now - NOTED_MICROS:
        _note_use(engine, token, now)
    shown = next((one for one in found if one.organization == row.organization), found[0])
    return Session(row.person, row.email, found, shown)


def show_organization(engine: Engine, token: str, organization_id: int, *, clock: Clock) -> None:
    """Let the session show another of the person's organizations; `BadRequest` for no such one."""
    found = find_session(engine, token, clock=clock)
    if found is None or organization_id not in {one.organization for one in found.memberships}:
        raise BadRequest(f"You are in no organization {organization_id}. Choose one of yours.")
    with writing(engine) as connection:
        connection.execute(
            session.update()
            .where(session.c.token_sha256 == token_hash(token))
            .values(organization=organization_id)
        )


def sign_out(engine: Engine, token: str) -> None:
    """End this session; there may be none."""
    with writing(engine) as connection:
        connection.execute(session.delete().where(session.c.token_sha256 == token_hash(token)))


def sign_out_everywhere(engine: Engine, person_id: int, *, clock: Clock, by: str) -> None:
    """End every session of a person, who asks for it. `clock`, the service's, is the trail's."""
    with writing(engine) as connection:
        connection.execute(session.delete().where(session.c.person == person_id))
        _note_end(Trail(connection, clock.now_micros(), by), person_id, {"email": by})


def sign_out_elsewhere(
    engine: Engine, token: str, person_id: int, *, clock: Clock, by: str
) -> None:
    """End every session of a person, who asks for it, but that of this token; `clock` as above."""
    with writing(engine) as connection:
        connection.execute(
            session.delete().where(
                session.c.person == person_id, session.c.token_sha256 != token_hash(token)
            )
        )
        _note_end(Trail(connection, clock.now_micros(), by), person_id, {"email": by})


def end_sessions(
    engine: Engine, organization_id: int, email: str, *, clock: Clock, by: str
) -> None:
    """End every session of somebody else who is in this organization alone; `clock` as above.

    Raise `BadRequest` for anybody else: those are also sessions of another organization.
    """
    with writing(engine) as connection:
        one_change_at_a_time(connection)
        found = require_own(connection, organization_id, email, by=by)
        connection.execute(session.delete().where(session.c.person == found.id))
        detail = {"organization": organization_id, "email": found.email}
        _note_end(Trail(connection, clock.now_micros(), by), found.id, detail)


def sessions_of(engine: Engine, person_id: int, *, clock: Clock) -> int:
    """Return in how many browsers a person is signed in; `clock` is the machine's."""
    with reading(engine) as connection:
        found: int = connection.execute(
            sa.select(sa.func.count())
            .select_from(session)
            .join(person, person.c.id == session.c.person)
            .where(
                session.c.person == person_id,
                sa.not_(_over(clock.now_micros())),
                session.c.password_set_micros.is_not_distinct_from(person.c.password_set_micros),
            )
        ).scalar_one()
        return found


def _note_end(trail: Trail, person_id: int, detail: dict[str, object]) -> None:
    trail.note("sessions ended", f"person {person_id}", detail)


def _note_use(engine: Engine, token: str, now: int) -> None:
    with writing(engine) as connection:
        connection.execute(
            session.update()
            .where(session.c.token_sha256 == token_hash(token))
            .values(used_micros=now)
        )


def _over(now: int) -> sa.ColumnElement[bool]:
    return sa.or_(
        session.c.used_micros <= now - IDLE_MICROS,
        session.c.created_micros <= now - LIFETIME_MICROS,
    )
