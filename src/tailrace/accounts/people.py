"""People: who belongs to an organization, in which role, and whether a password is theirs.

Called by the command line and the pages. An address has one account on an installation, and one
password; each organization sees its own members alone.
"""

from __future__ import annotations

import msgspec
from sqlalchemy.engine import Connection, Engine

from tailrace.accounts.addresses import checked_address
from tailrace.accounts.membership import (
    Account,
    Person,
    account_of,
    give_password,
    insert_account,
    insert_member,
    member,
    members,
    memberships,
    require_account,
    require_member,
)
from tailrace.accounts.passwords import Passwords, checked_password
from tailrace.accounts.projects import require_organization
from tailrace.accounts.roles import Role
from tailrace.accounts.trail import Trail
from tailrace.clock import Clock
from tailrace.errors import BadRequest
from tailrace.names import checked_name
from tailrace.state.audit import SERVICE
from tailrace.state.database import one_change_at_a_time, reading, writing
from tailrace.state.tables import membership, person, sign_in_link


class NewPerson(msgspec.Struct, frozen=True):
    """Whom to add. Without a password they get mail, and can't sign in yet."""

    email: str
    role: Role
    name: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"NewPerson(email={self.email!r}, role={self.role!r})"


def add_person(
    engine: Engine,
    organization_id: int,
    new: NewPerson,
    *,
    passwords: Passwords,
    clock: Clock,
    by: str = SERVICE,
) -> Person:
    """Add a person to an organization; an address that has an account already keeps its password.

    The first of an organization is an admin. Raise `BadRequest` that names the field and the rule:
    also for a password where the address has an account, so only the operator may be let give one.
    """
    email = checked_address(new.email)
    name = None if new.name is None else checked_name(new.name, "person")
    password_hash = None
    if new.password is not None:
        password_hash = passwords.hash(checked_password(new.password, email))
    with writing(engine) as connection:
        one_change_at_a_time(connection)
        require_organization(connection, organization_id)
        if member(connection, organization_id, email) is not None:
            raise BadRequest(
                f"Cannot add {email}: organization {organization_id} has a person of this address. "
                'Change their role with "tailrace person set".'
            )
        if new.role != "admin" and not members(connection, organization_id):
            raise BadRequest(
                f"Cannot add {email} as {new.role}: the first person of an organization is its "
                "admin. Add an admin first."
            )
        account = account_of(connection, email)
        if account is not None and password_hash is not None:
            raise BadRequest(
                f"Cannot set a password for {email}: this address has an account on this "
                "installation already. Leave the password out; the account keeps its own."
            )
        trail = Trail(connection, clock.now_micros(), by)
        if account is None:
            account = insert_account(trail, email, password_hash)
        insert_member(trail, organization_id, account, new.role, name)
        return require_member(connection, organization_id, email)


def people(engine: Engine, organization_id: int) -> list[Person]:
    """Return an organization's people by address; raise `BadRequest` if there is no such one."""
    with reading(engine) as connection:
        require_organization(connection, organization_id)
        return members(connection, organization_id)


def find_person(engine: Engine, organization_id: int, email: str) -> Person:
    """Return a person of an organization; raise `BadRequest` if it has none of this address."""
    with reading(engine) as connection:
        return require_member(connection, organization_id, email)


def organizations_of(engine: Engine, person_id: int) -> list[Person]:
    """Return what a person is in each of their organizations, to choose one and know the role."""
    with reading(engine) as connection:
        return memberships(connection, person_id)


def change_role(
    engine: Engine,
    organization_id: int,
    email: str,
    role: Role,
    *,
    clock: Clock,
    by: str = SERVICE,
) -> Person:
    """Give a person another role; raise `BadRequest` for an organization's only admin."""
    with writing(engine) as connection:
        one_change_at_a_time(connection)
        found = require_member(connection, organization_id, email)
        if role == found.role:
            return found
        _require_other_admin(connection, found, f"make {found.email} {role}")
        _forget_links(connection, found)
        connection.execute(
            membership.update()
            .where(membership.c.organization == organization_id, membership.c.person == found.id)
            .values(role=role)
        )
        detail = {"organization": organization_id, "email": found.email, "role": role}
        Trail(connection, clock.now_micros(), by).note("changed", f"person {found.id}", detail)
        return require_member(connection, organization_id, email)


def remove_person(
    engine: Engine, organization_id: int, email: str, *, clock: Clock, by: str = SERVICE
) -> Person:
    """Let a person belong to an organization no longer; return who they were.

    With their last organization their account goes too. Raise `BadRequest` for an organization's
    only admin.
    """
    with writing(engine) as connection:
        one_change_at_a_time(connection)
        found = require_member(connection, organization_id, email)
        _require_other_admin(connection, found, f"remove {found.email}")
        _forget_links(connection, found)
        connection.execute(
            membership.delete().where(
                membership.c.organization == organization_id, membership.c.person == found.id
            )
        )
        if not memberships(connection, found.id):
            connection.execute(person.delete().where(person.c.id == found.id))
        detail = {"organization": organization_id, "email": found.email}
        Trail(connection, clock.now_micros(), by).note("removed", f"person {found.id}", detail)
        return found


def set_password(
    engine: Engine,
    email: str,
    password: str,
    *,
    passwords: Passwords,
    clock: Clock,
    by: str = SERVICE,
) -> None:
    """Give an account another password; only the operator may be let do this.

    Sign-in links of the account are void then. Raise `BadRequest` for an address without an account
    and for a password that breaks a rule.
    """
    password_hash = passwords.hash(checked_password(password, email))
    with writing(engine) as connection:
        one_change_at_a_time(connection)
        account = require_account(connection, email)
        give_password(Trail(connection, clock.now_micros(), by), account, password_hash, None)


def change_password(
    engine: Engine,
    account: Account,
    password: str,
    *,
    passwords: Passwords,
    clock: Clock,
    by: str,
) -> None:
    """Do the same for the account's owner, whose present password `account_with_password` took.

    It may be an admin who knew that one, so nobody new is trusted with the account. Raise
    `BadRequest` also if the account got another password since, or is another one by now.
    """
    password_hash = passwords.hash(checked_password(password, account.email))
    with writing(engine) as connection:
        one_change_at_a_time(connection)
        # Anew: hashing takes its time. Not by the hash, which a sign-in may have made anew.
        found = account_of(connection, account.email)
        if found is None or (found.person, found.password_set_micros) != (
            account.person,
            account.password_set_micros,
        ):
            raise BadRequest("Your password was changed meanwhile; sign in again.")
        trail = Trail(connection, clock.now_micros(), by)
        give_password(trail, found, password_hash, found.password_organization)


def account_with_password(
    engine: Engine, email: str, password: str, *, passwords: Passwords
) -> Account | None:
    """Return the account of this address if the password is its own; else None, as slowly.

    A hash of outdated parameters is made anew on the way. How often may be tried is the caller's
    to limit.
    """
    with reading(engine) as connection:
        account = account_of(connection, email)
    stored = None if account is None else account.password_hash
    if not passwords.matches(stored, password):
        return None
    if stored is not None and passwords.outdated(stored):
        renewed = passwords.hash(password)
        with writing(engine) as connection:
            # Unless it was changed meanwhile: then the new password must stay.
            connection.execute(
                person.update()
                .where(person.c.password_hash == stored)
                .values(password_hash=renewed)
            )
    return account


def _forget_links(connection: Connection, made_by: Person) -> None:
    # Whoever is no admin any more may still have the links that they were shown.
    connection.execute(
        sign_in_link.delete().where(
            sign_in_link.c.organization == made_by.organization,
            sign_in_link.c.made_by == made_by.email,
        )
    )


def _require_other_admin(connection: Connection, found: Person, what: str) -> None:
    # Without one, nobody would get its mails or could let anybody in.
    admins = [one for one in members(connection, found.organization) if one.role == "admin"]
    if admins == [found]:
        raise BadRequest(
            f"Cannot {what}: they are the only admin of organization {found.organization}. Make "
            "another person an admin first."
        )
