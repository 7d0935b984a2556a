"""Organizations, their projects, and the keys under which a project's events come in.

Called by the command line, the pages and the management API. The collector reads keys through
`accounts.keys`.
"""

from __future__ import annotations

import hashlib
import hmac

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from tailrace.accounts.addresses import checked_address
from tailrace.accounts.membership import account_of, insert_account, insert_member
from tailrace.accounts.trail import Trail
from tailrace.clock import Clock
from tailrace.errors import BadRequest
from tailrace.ids import Ids
from tailrace.state.audit import SERVICE
from tailrace.state.database import next_number, reading, writing
from tailrace.state.tables import api_key, organization, project

NAME_CHARACTERS_MAX = 255

# 128 bits can't be guessed; as text they are the 32 hex digits that SDKs are configured with.
_KEY_BYTES = 16


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
    first_key, secret_key = _new_key(ids), _new_key(ids)
    with writing(engine) as connection:
        trail = Trail(connection, clock.now_micros(), by)
        require_organization(connection, organization_id)
        number = next_number(connection, "project")
        connection.execute(
            project.insert().values(
                id=number,
                organization=organization_id,
                name=name,
                secret_key_sha256=_hash_of(secret_key),
                created_micros=trail.at_micros,
            )
        )
        trail.note("added", f"project {number}", {"name": name, "organization": organization_id})
        _insert_key(trail, number, first_key)
    return NewProject(project_id=number, api_key=first_key, secret_key=secret_key)


def add_key(engine: Engine, project_id: int, *, ids: Ids, clock: Clock, by: str = SERVICE) -> str:
    """Add one more API key to a project and return it; the others stay accepted."""
    key = _new_key(ids)
    with writing(engine) as connection:
        require_project(connection, project_id)
        _insert_key(Trail(connection, clock.now_micros(), by), project_id, key)
    return key


def revoke_key(engine: Engine, key: str, *, clock: Clock, by: str = SERVICE) -> None:
    """Accept an API key no longer; a running collector obeys within 2 s.

    Raise `BadRequest` if it is not accepted now.
    """
    with writing(engine) as connection:
        trail = Trail(connection, clock.now_micros(), by)
        changed = connection.execute(
            api_key.update()
            .where(api_key.c.key == key, api_key.c.revoked_micros.is_(None))
            .values(revoked_micros=trail.at_micros)
        )
        if changed.rowcount != 1:
            raise BadRequest(
                f"Cannot revoke API key {_shown(key)}: there is no such key, or it was "
                "revoked before. List the project's keys first."
            )
        next_number(connection, "accounts_version")
        trail.note("revoked", f"api key {_shown(key)}", {})


def secret_key_is(engine: Engine, project_id: int, secret_key: str) -> bool:
    """Tell whether this is the project's secret key."""
    with reading(engine) as connection:
        stored = connection.execute(
            sa.select(project.c.secret_key_sha256).where(project.c.id == project_id)
        ).scalar_one_or_none()
    return stored is not None and hmac.compare_digest(stored, _hash_of(secret_key))


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


def find_project(engine: Engine, project_id: int) -> Project:
    """Return a project; raise `BadRequest` if there is none of that ID."""
    with reading(engine) as connection:
        require_project(connection, project_id)
    (found,) = [one for one in projects(engine) if one.id == project_id]
    return found


def require_project(connection: Connection, project_id: int) -> None:
    """Raise `BadRequest` if there is no such project."""
    statement = sa.select(project.c.id).where(project.c.id == project_id)
    if connection.execute(statement).one_or_none() is None:
        raise BadRequest(f'There is no project {project_id}. Make one with "tailrace project add".')


def _insert_key(trail: Trail, project_id: int, key: str) -> None:
    trail.connection.execute(
        api_key.insert().values(key=key, project=project_id, created_micros=trail.at_micros)
    )
    next_number(trail.connection, "accounts_version")
    trail.note("added", f"api key {_shown(key)}", {"project": project_id})


def _new_key(ids: Ids) -> str:
    return ids.random_bytes(_KEY_BYTES).hex()


def checked_name(name: str, of: str) -> str:
    """Return a name without blanks around it; raise `BadRequest` if it can't be shown."""
    trimmed = name.strip()
    if not trimmed or len(trimmed) > NAME_CHARACTERS_MAX or not trimmed.isprintable():
        raise BadRequest(
            f"Cannot name the {of} {name[:40]!r}: a name has 1 to {NAME_CHARACTERS_MAX} printable "
            "characters. Choose another."
        )
    return trimmed


def require_organization(connection: Connection, organization_id: int) -> None:
    """Raise `BadRequest` if there is no such organization."""
    statement = sa.select(organization.c.id).where(organization.c.id == organization_id)
    if connection.execute(statement).one_or_none() is None:
        raise BadRequest(
            f'There is no organization {organization_id}. Make one with "tailrace init".'
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


def _hash_of(secret_key: str) -> str:
    # A slow password hash protects what people choose; nobody can try out 128 random bits.
    return hashlib.sha256(secret_key.encode()).hexdigest()


def _shown(key: str) -> str:
    """Return as much of a key as tells it from others, and no more."""
    return f"{key[:6]}…"
