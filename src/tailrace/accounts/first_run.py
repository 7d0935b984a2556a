"""The first run: whoever reads the terminal of `init` or `serve` makes the first admin.

Until somebody can sign in, each of these commands prints a token; a browser that shows it may set
the first admin's password and the names. From then on every such token is void.
"""

from __future__ import annotations

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from tailrace.accounts.addresses import checked_address
from tailrace.accounts.membership import (
    Account,
    account_of,
    give_password,
    insert_account,
    insert_member,
    members,
)
from tailrace.accounts.passwords import Passwords, checked_password
from tailrace.accounts.renaming import rename
from tailrace.accounts.tokens import token_hash
from tailrace.accounts.trail import Trail
from tailrace.clock import Clock
from tailrace.errors import BadRequest, NotAllowed
from tailrace.ids import Ids
from tailrace.names import checked_name
from tailrace.state.database import one_change_at_a_time, reading, writing
from tailrace.state.tables import (
    first_run_token,
    membership,
    organization,
    person,
    project,
)

# A service that is started again and again fills no table; the oldest is void then.
TOKENS_MAX = 5
# It is typed off a terminal where it can not be copied.
_TOKEN_BYTES = 20


class FirstRun(msgspec.Struct, frozen=True):
    """What `init` made and the first run completes; `email` is empty if `init` was given none."""

    organization: int
    organization_name: str
    project: int
    project_name: str
    email: str


class FirstAdmin(msgspec.Struct, frozen=True):
    """What the first run asks for."""

    email: str
    password: str
    organization_name: str
    project_name: str

    def __repr__(self) -> str:
        return f"FirstAdmin(email={self.email!r})"


def new_token(engine: Engine, *, ids: Ids, clock: Clock) -> str | None:
    """Return one more token for the first run, or None once somebody can sign in.

    Also None where there is no organization or project yet.
    """
    token = ids.random_bytes(_TOKEN_BYTES).hex()
    with writing(engine) as connection:
        if _pending(connection) is None:
            return None
        connection.execute(
            first_run_token.insert().values(
                token_sha256=token_hash(token), created_micros=clock.now_micros()
            )
        )
        newest = (
            sa.select(first_run_token.c.token_sha256)
            .order_by(first_run_token.c.created_micros.desc(), first_run_token.c.token_sha256)
            .limit(TOKENS_MAX)
        )
        connection.execute(
            first_run_token.delete().where(first_run_token.c.token_sha256.not_in(newest))
        )
    return token


def first_run_path(token: str) -> str:
    """Return the page to which a token belongs."""
    return f"/first-run?token={token}"


def is_pending(engine: Engine) -> bool:
    """Tell whether nobody can sign in yet."""
    with reading(engine) as connection:
        return not _anybody_can_sign_in(connection)


def first_run(engine: Engine, token: str) -> FirstRun:
    """Return what the first run completes; raise `NotAllowed` for a token that is void."""
    with reading(engine) as connection:
        return _allowed(connection, token)


def finish_first_run(
    engine: Engine, token: str, admin: FirstAdmin, *, passwords: Passwords, clock: Clock
) -> Account:
    """Make the first admin, with a password, and name organization and project.

    All or nothing, and only once: every token is void on return. Raise `NotAllowed` for a void
    token, and `BadRequest` for a name, address or password that breaks a rule.
    """
    email = checked_address(admin.email)
    organization_name = checked_name(admin.organization_name, "organization")
    project_name = checked_name(admin.project_name, "project")
    # Who has no token is not to keep this machine busy with hashing.
    first_run(engine, token)
    password_hash = passwords.hash(checked_password(admin.password, email))
    with writing(engine) as connection:
        one_change_at_a_time(connection)
        found = _allowed(connection, token)
        trail = Trail(connection, clock.now_micros(), email)
        account = _admin(trail, found, email, password_hash)
        rename(trail, organization, found.organization, organization_name)
        rename(trail, project, found.project, project_name)
        connection.execute(first_run_token.delete())
        return account


def _admin(trail: Trail, found: FirstRun, email: str, password_hash: str) -> Account:
    connection = trail.connection
    there = account_of(connection, email)
    if there is None:
        insert_account(trail, email, password_hash)
    else:
        give_password(trail, there, password_hash, None)
    account = account_of(connection, email)
    if account is None:
        raise BadRequest(f"There is no person {email!r}.")
    role = next(
        (one.role for one in members(connection, found.organization) if one.id == account.person),
        None,
    )
    if role is None:
        insert_member(trail, found.organization, account, "admin", None)
    elif role != "admin":
        raise BadRequest(
            f"{email} is a {role} of organization {found.organization}: use an admin's address."
        )
    return account


def _allowed(connection: Connection, token: str) -> FirstRun:
    known = sa.select(first_run_token.c.token_sha256).where(
        first_run_token.c.token_sha256 == token_hash(token)
    )
    pending = _pending(connection)
    if pending is None or connection.execute(known).one_or_none() is None:
        raise NotAllowed(
            "This link is not valid, or not any more. While nobody can sign in yet, "
            '"tailrace serve" prints a new one at each start.'
        )
    return pending


def _pending(connection: Connection) -> FirstRun | None:
    if _anybody_can_sign_in(connection):
        return None
    row = connection.execute(
        sa.select(
            organization.c.id,
            organization.c.name,
            project.c.id.label("project"),
            project.c.name.label("project_name"),
        )
        .join(project, project.c.organization == organization.c.id)
        .order_by(organization.c.id, project.c.id)
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    admins = [one.email for one in members(connection, row.id) if one.role == "admin"]
    return FirstRun(row.id, row.name, row.project, row.project_name, admins[0] if admins else "")


def _anybody_can_sign_in(connection: Connection) -> bool:
    statement = (
        sa.select(person.c.id)
        .join(membership, membership.c.person == person.c.id)
        .where(person.c.password_hash.is_not(None))
        .limit(1)
    )
    return connection.execute(statement).one_or_none() is not None
