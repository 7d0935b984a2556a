"""Organizations and their projects.

Called by the command line, the pages and the management API. Keys are in `project_keys`, portfolio
projects in `portfolios`.
"""

from __future__ import annotations

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from tailrace.accounts.addresses import checked_address
from tailrace.accounts.membership import account_of, insert_account, insert_member
from tailrace.accounts.project_keys import hash_of, insert_key, new_key
from tailrace.accounts.trail import Trail
from tailrace.clock import Clock
from tailrace.errors import BadRequest, NeedsOperator
from tailrace.ids import Ids
from tailrace.names import checked_name
from tailrace.state.audit import SERVICE
from tailrace.state.database import next_number, reading, writing
from tailrace.state.projects import organization_of_project
from tailrace.state.tables import api_key, organization, project


class Organization(msgspec.Struct, frozen=True):
    """A customer of this installation. `created_micros` is the service's time."""

    id: int
    name: str
    created_micros: int


class Project(msgspec.Struct, frozen=True):
    """What events belong to. `api_keys` are those that are accepted now, oldest first."""

    id: int
    organization: int
    name: str
    created_micros: int
    api_keys: tuple[str, ...]


class NewProject(msgspec.Struct, frozen=True):
    """A project that was just made. The secret key is shown here and never again."""

    project_id: int
    api_key: str
    secret_key: str

    def __repr__(self) -> str:
        return f"NewProject(project_id={self.project_id}, api_key=..., secret_key=...)"


def add_organization(
    engine: Engine, name: str, *, clock: Clock, admin_email: str = "", by: str = SERVICE
) -> int:
    """Add an organization and return its ID; IDs begin with 100001 and are never reused.

    `admin_email` is its first admin's address; empty for none yet. `by` names who does this in the
    audit trail, here and below. Raise `BadRequest` for a name or an address that is none.
    """
    name = checked_name(name, "organization")
    email = checked_address(admin_email) if admin_email else None
    with writing(engine) as connection:
        number = next_number(connection, "organization")
        connection.execute(
            organization.insert().values(
                id=number,
                name=name,
                created_micros=clock.now_micros(),
            )
        )
        trail = Trail(connection, clock.now_micros(), by)
        trail.note("added", f"organization {number}", {"name": name})
        if email is not None:
            account = account_of(connection, email) or insert_account(trail, email, None)
            insert_member(trail, number, account, "admin", None)
    return number


def add_project(
    engine: Engine,
    organization_id: int,
    name: str,
    *,
    ids: Ids,
    clock: Clock,
    by: str = SERVICE,
) -> NewProject:
    """Add a project with its first keys; IDs begin with 300001 and are never reused.

    Raise `BadRequest` for an unknown organization. A running collector accepts the API key within
    2 s.
    """
    name = checked_name(name, "project")
    first_key, secret_key = new_key(ids), new_key(ids)
    with writing(engine) as connection:
        trail = Trail(connection, clock.now_micros(), by)
        require_organization(connection, organization_id)
        number = next_number(connection, "project")
        connection.execute(
            project.insert().values(
                id=number,
                organization=organization_id,
                name=name,
                secret_key_sha256=hash_of(secret_key),
                created_micros=trail.at_micros,
            )
        )
        trail.note("added", f"project {number}", {"name": name, "organization": organization_id})
        insert_key(trail, number, first_key, None)
    return NewProject(project_id=number, api_key=first_key, secret_key=secret_key)


def organizations(engine: Engine) -> list[Organization]:
    """Return all organizations, oldest first."""
    with reading(engine) as connection:
        rows = connection.execute(sa.select(organization).order_by(organization.c.id))
        return [Organization(row.id, row.name, row.created_micros) for row in rows]


def projects(engine: Engine, *, organization_id: int | None = None) -> list[Project]:
    """Return the projects of one organization, or all, oldest first."""
    statement = sa.select(project).order_by(project.c.id)
    if organization_id is not None:
        statement = statement.where(project.c.organization == organization_id)
    with reading(engine) as connection:
        keys = _accepted_keys(connection)
        return [
            Project(
                id=row.id,
                organization=row.organization,
                name=row.name,
                created_micros=row.created_micros,
                api_keys=tuple(keys.get(row.id, ())),
            )
            for row in connection.execute(statement)
        ]


def find_project(engine: Engine, project_id: int, *, within: int | None = None) -> Project:
    """Return a project; raise `BadRequest` if there is none of that ID, or a portfolio project.

    `within` is the organization whose person asks; None is the operator.
    """
    with reading(engine) as connection:
        organization_of_project(connection, project_id, within=within)
    (found,) = [one for one in projects(engine) if one.id == project_id]
    return found


def chosen_organization(engine: Engine, organization_id: int | None) -> int:
    """Return the organization that was named, or the only one where none was.

    Raise `BadRequest` for an unknown one, and where none was named though there are several.
    """
    known = organizations(engine)
    if not known:
        raise NeedsOperator('There is no organization yet. Make one with "tailrace init".')
    if organization_id is None and len(known) > 1:
        named = ", ".join(f"{one.id} ({one.name})" for one in known)
        raise BadRequest(f"Name the organization with --organization; there are {named}.")
    if organization_id is None:
        return known[0].id
    with reading(engine) as connection:
        require_organization(connection, organization_id)
    return organization_id


def require_organization(connection: Connection, organization_id: int) -> None:
    """Raise `BadRequest` if there is no such organization."""
    statement = sa.select(organization.c.id).where(organization.c.id == organization_id)
    if connection.execute(statement).one_or_none() is None:
        raise BadRequest(
            f"There is no organization {organization_id}. Use an ID that "
            '"tailrace organization list" shows.'
        )


def _accepted_keys(connection: Connection) -> dict[int, list[str]]:
    keys: dict[int, list[str]] = {}
    rows = connection.execute(
        sa.select(api_key.c.project, api_key.c.key)
        .where(api_key.c.revoked_micros.is_(None))
        .order_by(api_key.c.created_micros, api_key.c.key)
    )
    for row in rows:
        keys.setdefault(row.project, []).append(row.key)
    return keys
