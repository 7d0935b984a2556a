"""The rows of people: one account for each e-mail address, and a membership in each organization.

Called by `people` and `projects`, within their transactions. What an organization says of a
person, name and role, is in its membership, so that no other one sees it.
"""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tailrace.accounts.addresses import folded
from tailrace.accounts.roles import Role
from tailrace.accounts.trail import Trail
from tailrace.errors import BadRequest
from tailrace.state.database import next_number
from tailrace.state.tables import membership, person, sign_in_link


class Person(msgspec.Struct, frozen=True):
    """A member of an organization. `created_micros` is when they became one.

    `has_password` is for the operator and the person alone: of somebody who was just added it would
    tell an organization that they have an account in another one.
    """

    id: int
    organization: int
    email: str
    name: str | None
    role: Role
    has_password: bool
    created_micros: int


class Account(msgspec.Struct, frozen=True):
    """What a person is signed in with, in whatever organizations they are.

    What was signed in before `password_set_micros` is so no longer. `password_organization` is
    whose link the password was chosen by: its admins saw that link, so they may know the password.
    """

    person: int
    email: str
    password_hash: str | None
    password_set_micros: int | None
    password_organization: int | None = None


def account_of(connection: Connection, email: str) -> Account | None:
    """Return the account of an address, or None."""
    row = connection.execute(
        sa.select(person).where(person.c.email_folded == folded(email))
    ).one_or_none()
    if row is None:
        return None
    return Account(
        row.id,
        row.email,
        row.password_hash,
        row.password_set_micros,
        row.password_organization,
    )


def require_account(connection: Connection, email: str) -> Account:
    """Return the account of an address, or raise `BadRequest`."""
    account = account_of(connection, email)
    if account is None:
        raise BadRequest(f'There is no person {email[:80]!r}. Add them with "tailrace person add".')
    return account


def insert_account(trail: Trail, email: str, password_hash: str | None) -> Account:
    """Add the account of an address that has none."""
    number = next_number(trail.connection, "person")
    password_set_micros = None if password_hash is None else trail.at_micros
    trail.connection.execute(
        person.insert().values(
            id=number,
            email=email,
            email_folded=folded(email),
            password_hash=password_hash,
            password_set_micros=password_set_micros,
            created_micros=trail.at_micros,
        )
    )
    return Account(number, email, password_hash, password_set_micros)


def insert_member(
    trail: Trail, organization_id: int, account: Account, role: Role, name: str | None
) -> None:
    """Make an account a member of an organization.

    Raise `BadRequest` if admins of another organization may know its password: they would get in
    with it. Their links are void on return, for the same reason.
    """
    if account.password_organization not in (None, organization_id):
        raise BadRequest(
            f"Cannot add {account.email}: this address has an account on this installation, whose "
            "password admins of another organization may know. Whoever runs tailrace lets it be "
            f'chosen anew with "tailrace person invite {account.email}"; then add them.'
        )
    trail.connection.execute(
        sign_in_link.delete().where(
            sign_in_link.c.person == account.person,
            sign_in_link.c.organization.is_not(None),
        )
    )
    trail.connection.execute(
        membership.insert().values(
            organization=organization_id,
            person=account.person,
            name=name,
            role=role,
            created_micros=trail.at_micros,
        )
    )
    detail = {"organization": organization_id, "email": account.email, "role": role}
    trail.note("added", f"person {account.person}", detail)


def give_password(
    trail: Trail, account: Account, password_hash: str, organization_id: int | None
) -> Account:
    """Set an account's password; return the account as it is then.

    `organization_id` is whose admins may know it, None for nobody's. Every sign-in link of the
    account is void on return.
    """
    connection = trail.connection
    connection.execute(
        person.update()
        .where(person.c.id == account.person)
        .values(
            password_hash=password_hash,
            password_set_micros=trail.at_micros,
            password_organization=organization_id,
        )
    )
    connection.execute(sign_in_link.delete().where(sign_in_link.c.person == account.person))
    trail.note("password set", f"person {account.person}", {"email": account.email})
    return Account(account.person, account.email, password_hash, trail.at_micros, organization_id)


def members(connection: Connection, organization_id: int) -> list[Person]:
    """Return an organization's people by address."""
    statement = _PEOPLE.where(membership.c.organization == organization_id).order_by(
        person.c.email_folded
    )
    return [_person(row) for row in connection.execute(statement)]


def memberships(connection: Connection, person_id: int) -> list[Person]:
    """Return what a person is in each of their organizations, oldest organization first."""
    statement = _PEOPLE.where(membership.c.person == person_id).order_by(membership.c.organization)
    return [_person(row) for row in connection.execute(statement)]


def member(connection: Connection, organization_id: int, email: str) -> Person | None:
    """Return the person of an organization with this address, or None."""
    row = connection.execute(
        _PEOPLE.where(
            membership.c.organization == organization_id, person.c.email_folded == folded(email)
        )
    ).one_or_none()
    return None if row is None else _person(row)


def require_member(connection: Connection, organization_id: int, email: str) -> Person:
    """Return the person of an organization with this address, or raise `BadRequest`."""
    found = member(connection, organization_id, email)
    if found is None:
        raise BadRequest(
            f"There is no person {email[:80]!r} in organization {organization_id}. List them with "
            '"tailrace person list".'
        )
    return found


def require_own(connection: Connection, organization_id: int, email: str, *, by: str) -> Person:
    """Return a person over whose account an organization's admin has power, or raise `BadRequest`.

    That is somebody else who belongs to no other organization: whoever gets into an account gets
    into all of its organizations. Nobody has it over themselves, or a session that was left open
    would be enough to change a password.
    """
    found = require_member(connection, organization_id, email)
    if found.email == by:
        raise BadRequest(
            "This is for other people. Your own password you change with the present one, below."
        )
    if len(memberships(connection, found.id)) > 1:
        raise BadRequest(
            f"Cannot do this for {found.email}: the account of this address is not this "
            "organization's alone. Whoever runs tailrace makes a link for them with "
            f'"tailrace person invite {found.email}".'
        )
    return found


_PEOPLE = sa.select(
    person.c.id,
    membership.c.organization,
    person.c.email,
    membership.c.name,
    membership.c.role,
    person.c.password_hash.is_not(None).label("has_password"),
    membership.c.created_micros,
).join(person, person.c.id == membership.c.person)


def _person(row: sa.Row[Any]) -> Person:
    return Person(
        id=row.id,
        organization=row.organization,
        email=row.email,
        name=row.name,
        role=row.role,
        has_password=bool(row.has_password),
        created_micros=row.created_micros,
    )
