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
from tailrace.state.database import next_number
from tailrace.state.tables import membership, person


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

    What was signed in before `password_set_micros` is so no longer.
    """

    person: int
    email: str
    password_hash: str | None
    password_set_micros: int | None


def account_of(connection: Connection, email: str) -> Account | None:
    """Return the account of an address, or None."""
    row = connection.execute(
        sa.select(person).where(person.c.email_folded == folded(email))
    ).one_or_none()
    if row is None:
        return None
    return Account(row.id, row.email, row.password_hash, row.password_set_micros)


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
    """Make an account a member of an organization."""
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
