"""User mappings of an organization: which user is, across projects, a part of a global user (3.5).

They live beside the accounts and not in the log, because nothing that is processed or exported
depends on them (D43). Called by the collector.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tailrace.clock import Clock
from tailrace.errors import BadRequest
from tailrace.state.database import reading, writing
from tailrace.state.tables import user_mapping

# What one answer holds: some megabyte.
MAPPED_MAX = 10_000


class UserMapping(msgspec.Struct, frozen=True):
    """A user and the global user that it is; None takes its mapping away."""

    user_id: str
    global_user_id: str | None


class MappedUser(msgspec.Struct, frozen=True):
    """The other end of a mapping; its amplitude id is None while no event named the user."""

    amplitude_id: int | None
    user_id: str


class Mapped(msgspec.Struct, frozen=True):
    """The users that are mapped to a user, and the one that it is mapped to."""

    mapped_from: list[MappedUser] = []
    mapped_to: list[MappedUser] = []


def store_mappings(
    engine: Engine, organization: int, mappings: Sequence[UserMapping], *, clock: Clock
) -> None:
    """Keep mappings in their order, so that the last of a user counts; durable on return."""
    last = {mapping.user_id: mapping.global_user_id for mapping in mappings}
    at_micros = clock.now_micros()
    table = user_mapping.c
    with writing(engine) as connection:
        connection.execute(
            user_mapping.delete().where(
                table.organization == organization, table.user_id == sa.bindparam("user")
            ),
            [{"user": user_id} for user_id in last],
        )
        rows = [
            {
                "organization": organization,
                "user_id": user_id,
                "global_user_id": global_user_id,
                "mapped_micros": at_micros,
            }
            for user_id, global_user_id in last.items()
            if global_user_id is not None
        ]
        if rows:
            connection.execute(user_mapping.insert(), rows)


def mappings_around(
    engine: Engine, organization: int, user_ids: Iterable[str]
) -> list[tuple[str, str]]:
    """Return (user ID, global user ID) of all mappings from or to these users, sorted.

    Raise `BadRequest` for more than `MAPPED_MAX`.
    """
    wanted = set(user_ids)
    table = user_mapping.c
    statement = (
        sa.select(table.user_id, table.global_user_id)
        .where(
            table.organization == organization,
            sa.or_(table.user_id.in_(wanted), table.global_user_id.in_(wanted)),
        )
        .order_by(table.user_id)
        .limit(MAPPED_MAX + 1)
    )
    with reading(engine) as connection:
        rows = [(row.user_id, row.global_user_id) for row in connection.execute(statement)]
    if len(rows) > MAPPED_MAX:
        raise BadRequest(
            f"More than {MAPPED_MAX} users are mapped from or to these. Ask for fewer at once."
        )
    return rows


def mapped_users(
    mappings: Iterable[tuple[str, str]], amplitude_ids: Mapping[str, int]
) -> dict[str, Mapped]:
    """Return both ends of each mapping by user ID."""
    found: dict[str, Mapped] = {}
    for user_id, global_user_id in mappings:
        to = MappedUser(amplitude_ids.get(global_user_id), global_user_id)
        found.setdefault(user_id, Mapped([], [])).mapped_to.append(to)
        source = MappedUser(amplitude_ids.get(user_id), user_id)
        found.setdefault(global_user_id, Mapped([], [])).mapped_from.append(source)
    return found
