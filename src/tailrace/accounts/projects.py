"""Organizations, their projects, and the keys under which a project's events come in.

Called by the command line, the pages and the management API. The collector reads keys through
`accounts.keys`.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from tailrace.clock import Clock
from tailrace.errors import BadRequest
from tailrace.ids import Ids
from tailrace.state.audit import note
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


class Accounts:
    """Add and find organizations, projects and keys. `by` names who does so in the audit trail.

    A running collector sees each change within 2 s.
    """

    def __init__(self, engine: Engine, clock: Clock, ids: Ids, *, by: str) -> None:
        self.engine = engine
        self.clock = clock
        self.ids = ids
        self.by = by

    def add_organization(self, name: str) -> int:
        """Add an organization and return its ID; IDs begin with 100001 and are never reused."""
        name = _checked_name(name, "organization")
        with writing(self.engine) as connection:
            number = next_number(connection, "organization")
            now = self.clock.now_micros()
            connection.execute(
                organization.insert().values(id=number, name=name, created_micros=now)
            )
            self._note(connection, "added", f"organization {number}", {"name": name})
        return number

    def add_project(self, organization_id: int, name: str) -> NewProject:
        """Add a project with its first keys; IDs begin with 300001 and are never reused.

        Raise `BadRequest` for an unknown organization.
        """
        name = _checked_name(name, "project")
        secret_key = self._new_key()
        with writing(self.engine) as connection:
            _require_organization(connection, organization_id)
            number = next_number(connection, "project")
            connection.execute(
                project.insert().values(
                    id=number,
                    organization=organization_id,
                    name=name,
                    secret_key_sha256=_hash_of(secret_key),
                    created_micros=self.clock.now_micros(),
                )
            )
            self._note(connection, "added", f"project {number}", {"name": name})
            first_key = self._insert_key(connection, number)
        return NewProject(project_id=number, api_key=first_key, secret_key=secret_key)

    def add_key(self, project_id: int) -> str:
        """Add one more API key to a project and return it; the others stay accepted."""
        with writing(self.engine) as connection:
            _require_project(connection, project_id)
            return self._insert_key(connection, project_id)

    def revoke_key(self, key: str) -> None:
        """Accept an API key no longer; raise `BadRequest` if it is not accepted now."""
        with writing(self.engine) as connection:
            changed = connection.execute(
                api_key.update()
                .where(api_key.c.key == key, api_key.c.revoked_micros.is_(None))
                .values(revoked_micros=self.clock.now_micros())
            )
            if changed.rowcount != 1:
                raise BadRequest(
                    f"Cannot revoke API key {_shown(key)}: there is no such key, or it was "
                    "revoked before. List the project's keys first."
                )
            next_number(connection, "accounts_version")
            self._note(connection, "revoked", f"api key {_shown(key)}", {})

    def secret_key_is(self, project_id: int, secret_key: str) -> bool:
        """Tell whether this is the project's secret key."""
        with reading(self.engine) as connection:
            stored = connection.execute(
                sa.select(project.c.secret_key_sha256).where(project.c.id == project_id)
            ).scalar_one_or_none()
        return stored is not None and hmac.compare_digest(stored, _hash_of(secret_key))

    def organizations(self) -> list[Organization]:
        """Return all organizations, oldest first."""
        with reading(self.engine) as connection:
            rows = connection.execute(sa.select(organization).order_by(organization.c.id))
            return [Organization(row.id, row.name, row.created_micros) for row in rows]

    def projects(self, *, organization_id: int | None = None) -> list[Project]:
        """Return the projects of one organization, or all, oldest first."""
        statement = sa.select(project).order_by(project.c.id)
        if organization_id is not None:
            statement = statement.where(project.c.organization == organization_id)
        with reading(self.engine) as connection:
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

    def _insert_key(self, connection: Connection, project_id: int) -> str:
        key = self._new_key()
        now = self.clock.now_micros()
        connection.execute(api_key.insert().values(key=key, project=project_id, created_micros=now))
        next_number(connection, "accounts_version")
        self._note(connection, "added", f"api key {_shown(key)}", {"project": project_id})
        return key

    def _new_key(self) -> str:
        return self.ids.random_bytes(_KEY_BYTES).hex()

    def _note(
        self, connection: Connection, what: str, changed: str, detail: dict[str, Any]
    ) -> None:
        at = self.clock.now_micros()
        note(connection, at_micros=at, who=self.by, what=what, changed=changed, detail=detail)


def _checked_name(name: str, of: str) -> str:
    trimmed = name.strip()
    if not trimmed or len(trimmed) > NAME_CHARACTERS_MAX or not trimmed.isprintable():
        raise BadRequest(
            f"Cannot name the {of} {name[:40]!r}: a name has 1 to {NAME_CHARACTERS_MAX} printable "
            "characters. Choose another."
        )
    return trimmed


def _require_organization(connection: Connection, organization_id: int) -> None:
    statement = sa.select(organization.c.id).where(organization.c.id == organization_id)
    if connection.execute(statement).one_or_none() is None:
        raise BadRequest(
            f'There is no organization {organization_id}. Make one with "tailrace init".'
        )


def _require_project(connection: Connection, project_id: int) -> None:
    statement = sa.select(project.c.id).where(project.c.id == project_id)
    if connection.execute(statement).one_or_none() is None:
        raise BadRequest(f'There is no project {project_id}. Make one with "tailrace project add".')


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
