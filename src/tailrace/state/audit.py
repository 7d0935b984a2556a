"""The trail of who changed what; written in the transaction of the change itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from tailrace.state.database import reading
from tailrace.state.tables import audit

# Who made a change that no person was named for.
SERVICE = "tailrace"

# A page shows no more at once.
ENTRIES_MAX = 1000


class AuditEntry(msgspec.Struct, frozen=True):
    """One change: by whom, of which object (`destination 4`), and what it became.

    `at_micros` is the service's time.
    """

    at_micros: int
    who: str
    what: str
    object: str
    detail: dict[str, Any]


def note(
    connection: Connection,
    *,
    at_micros: int,
    who: str,
    what: str,
    changed: str,
    detail: Mapping[str, object],
) -> None:
    """Add an entry inside the caller's transaction. Never put a secret into `detail`."""
    connection.execute(
        audit.insert().values(
            at_micros=at_micros,
            who=who,
            what=what,
            object=changed,
            detail=msgspec.json.encode(detail).decode(),
        )
    )


def entries(engine: Engine, *, of: str | None = None, limit: int = ENTRIES_MAX) -> list[AuditEntry]:
    """Return the newest entries first; `of` narrows them to one object."""
    statement = sa.select(audit).order_by(audit.c.id.desc()).limit(min(limit, ENTRIES_MAX))
    if of is not None:
        statement = statement.where(audit.c.object == of)
    with reading(engine) as connection:
        return [
            AuditEntry(
                row.at_micros, row.who, row.what, row.object, msgspec.json.decode(row.detail)
            )
            for row in connection.execute(statement)
        ]


def oldest_by(engine: Engine, of: str) -> str | None:
    """Return who made the oldest entry of an object: its creator. None if there is none."""
    with reading(engine) as connection:
        return creator(connection, of)


def creator(connection: Connection, of: str) -> str | None:
    """Return the same as `oldest_by`, inside the caller's transaction."""
    statement = sa.select(audit.c.who).where(audit.c.object == of).order_by(audit.c.id).limit(1)
    return connection.execute(statement).scalar_one_or_none()


def last_by(engine: Engine, of: str, what: str) -> str | None:
    """Return who made the newest entry of an object that says this; None if there is none."""
    statement = (
        sa.select(audit.c.who)
        .where(audit.c.object == of, audit.c.what == what)
        .order_by(audit.c.id.desc())
        .limit(1)
    )
    with reading(engine) as connection:
        return connection.execute(statement).scalar_one_or_none()
