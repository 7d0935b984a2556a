"""The keys of a project: API keys, which only let events in, and the secret key, which reads them.

Called by the command line, the pages and the management API. The collector reads API keys through
`accounts.keys`, and obeys a change within 2 s. `within` is the organization whose person acts;
None is the operator: keys and projects of another one are to it as if they did not exist.
"""

from __future__ import annotations

import hashlib
import hmac

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from tailrace.accounts.trail import Trail
from tailrace.clock import Clock
from tailrace.errors import BadRequest
from tailrace.ids import Ids
from tailrace.names import checked_name
from tailrace.state.audit import SERVICE
from tailrace.state.database import next_number, one_change_at_a_time, reading, writing
from tailrace.state.projects import organization_of_project, projects_within
from tailrace.state.tables import api_key, project

# 128 bits can't be guessed; as text they are the 32 hex digits that SDKs are configured with.
_KEY_BYTES = 16

# As documented; collectors hold every one of them in memory. Revoked ones do not count.
KEYS_MAX = 50


class ApiKey(msgspec.Struct, frozen=True):
    """An API key; a revoked one stays listed and is never accepted again."""

    key: str
    project: int
    name: str | None
    created_micros: int
    revoked_micros: int | None


def add_key(
    engine: Engine,
    project_id: int,
    *,
    ids: Ids,
    clock: Clock,
    name: str | None = None,
    within: int | None = None,
    by: str = SERVICE,
) -> str:
    """Add one more API key to a project and return it; the others stay accepted.

    `name` is what people know it by. Raise `BadRequest` for more than `KEYS_MAX` accepted ones.
    """
    key = new_key(ids)
    checked = None if name is None else checked_name(name, "API key")
    with writing(engine) as connection:
        one_change_at_a_time(connection)
        organization_of_project(connection, project_id, within=within)
        accepted = [one for one in _keys(connection, project_id) if one.revoked_micros is None]
        if len(accepted) >= KEYS_MAX:
            raise BadRequest(
                f"Cannot add an API key to project {project_id}: it has {KEYS_MAX}, the most that "
                "are accepted at a time. Revoke one that is no longer used."
            )
        insert_key(Trail(connection, clock.now_micros(), by), project_id, key, checked)
    return key


def api_keys(engine: Engine, project_id: int, *, within: int | None = None) -> list[ApiKey]:
    """Return a project's API keys, revoked ones too, oldest first."""
    with reading(engine) as connection:
        organization_of_project(connection, project_id, within=within)
        return _keys(connection, project_id)


def revoke_key(
    engine: Engine, key: str, *, clock: Clock, within: int | None = None, by: str = SERVICE
) -> ApiKey:
    """Accept an API key no longer, for good; events that came by it stay.

    Raise `BadRequest` if it is not accepted now.
    """
    with writing(engine) as connection:
        trail = Trail(connection, clock.now_micros(), by)
        changed = connection.execute(
            api_key.update()
            .where(
                api_key.c.key == key,
                api_key.c.revoked_micros.is_(None),
                api_key.c.project.in_(projects_within(within)),
            )
            .values(revoked_micros=trail.at_micros)
            .returning(api_key)
        ).one_or_none()
        if changed is None:
            raise BadRequest(
                f"Cannot revoke API key {_shown(key)}: there is no such key, or it was "
                'revoked before. List the project\'s keys with "tailrace key list".'
            )
        next_number(connection, "accounts_version")
        trail.note("revoked", f"api key {_shown(key)}", {"project": changed.project})
        return _api_key(changed)


def renew_secret_key(
    engine: Engine,
    project_id: int,
    *,
    ids: Ids,
    clock: Clock,
    within: int | None = None,
    by: str = SERVICE,
) -> str:
    """Replace a project's secret key at once; return the new one, which is shown never again."""
    secret_key = new_key(ids)
    with writing(engine) as connection:
        organization_of_project(connection, project_id, within=within)
        connection.execute(
            project.update()
            .where(project.c.id == project_id)
            .values(secret_key_sha256=hash_of(secret_key))
        )
        trail = Trail(connection, clock.now_micros(), by)
        trail.note("secret key renewed", f"project {project_id}", {})
    return secret_key


def secret_key_is(engine: Engine, project_id: int, secret_key: str) -> bool:
    """Tell whether this is the project's secret key."""
    with reading(engine) as connection:
        stored = connection.execute(
            sa.select(project.c.secret_key_sha256).where(project.c.id == project_id)
        ).scalar_one_or_none()
    return stored is not None and hmac.compare_digest(stored, hash_of(secret_key))


def insert_key(trail: Trail, project_id: int, key: str, name: str | None) -> None:
    """Add the row of an API key that `new_key` made."""
    trail.connection.execute(
        api_key.insert().values(
            key=key, project=project_id, name=name, created_micros=trail.at_micros
        )
    )
    next_number(trail.connection, "accounts_version")
    detail: dict[str, object] = {"project": project_id}
    trail.note(
        "added", f"api key {_shown(key)}", detail if name is None else detail | {"name": name}
    )


def new_key(ids: Ids) -> str:
    """Return an API key or a secret key that nobody can guess."""
    return ids.random_bytes(_KEY_BYTES).hex()


def hash_of(secret_key: str) -> str:
    """Return what is kept of a secret key."""
    # A slow password hash protects what people choose; nobody can try out 128 random bits.
    return hashlib.sha256(secret_key.encode()).hexdigest()


def _keys(connection: Connection, project_id: int) -> list[ApiKey]:
    statement = (
        sa.select(api_key)
        .where(api_key.c.project == project_id)
        .order_by(api_key.c.created_micros, api_key.c.key)
    )
    return [_api_key(row) for row in connection.execute(statement)]


def _api_key(row: sa.Row[tuple[object, ...]]) -> ApiKey:
    return ApiKey(row.key, row.project, row.name, row.created_micros, row.revoked_micros)


def _shown(key: str) -> str:
    """Return as much of a key as tells it from others, and no more."""
    return f"{key[:6]}…"
